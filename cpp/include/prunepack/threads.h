// The one way this library runs on several threads.
#pragma once

#include <cstddef>
#include <functional>

namespace prunepack {

// No operation takes more.
inline constexpr unsigned kMostThreads = 1024;

// The number of threads to use where the caller does not say: PRUNEPACK_NUM_THREADS if it is set,
// else the cores this process may use. Throws std::invalid_argument if the variable is no number
// from 1 to kMostThreads.
unsigned default_threads();

// Calls work(0) ... work(tasks - 1), each once, started in this order, on up to `threads` threads
// of which the caller is one. Returns when all have ended. Rethrows the first exception.
//
// Safe to call from several threads at once, and in a child after fork. Idle workers sleep.
void parallel_for(std::size_t tasks, unsigned threads,
                  const std::function<void(std::size_t)>& work);

// While one of these lives, parallel_for takes its helpers, if `wanted`, from the OpenMP runtime
// that another library has brought into the process; if there is none, from the pool as always.
//
// For calls in between those of that library: its workers do not sleep at once when they are idle,
// and would keep the pool's from running.
class OpenMpThreads {
 public:
  explicit OpenMpThreads(bool wanted);
  ~OpenMpThreads();
  OpenMpThreads(const OpenMpThreads&) = delete;
  OpenMpThreads& operator=(const OpenMpThreads&) = delete;

 private:
  bool before_;
};

}  // namespace prunepack
