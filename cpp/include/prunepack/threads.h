// The one way this library runs on several threads.
#pragma once

#include <cstddef>
#include <functional>

namespace prunepack {

// The number of threads to use where the caller does not say: PRUNEPACK_NUM_THREADS if it is set,
// else the cores this process may use. Throws std::invalid_argument if the variable is no number
// from 1 to 1024.
unsigned default_threads();

// Calls work(0) ... work(tasks - 1), each once, started in this order, on up to `threads` threads
// of which the caller is one. Returns when all have ended. Rethrows the first exception.
//
// Safe to call from several threads at once, and in a child after fork. Idle workers sleep.
void parallel_for(std::size_t tasks, unsigned threads,
                  const std::function<void(std::size_t)>& work);

}  // namespace prunepack
