// parallel_for(): every task once, from several callers at once, with errors, and where threads of
// OpenMP are wanted that nobody has brought. What compares operations on threads is in tensors.cpp
// and panels.cpp; for a race to be seen, all three are run under the thread sanitizer.
#include "prunepack/threads.h"

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.h"

namespace prunepack::check {
namespace {

constexpr unsigned kThreads[] = {1, 2, 5};
constexpr std::size_t kTasks[] = {0, 1, 2, 7, 1000};

// Tasks write without a lock, each to its own place: only waiting for the helpers makes that safe.
bool each_task_once(std::size_t tasks, unsigned threads) {
  std::vector<int> done(tasks, 0);
  parallel_for(tasks, threads, [&](std::size_t task) { ++done[task]; });
  for (const int times : done) {
    if (times != 1) return false;
  }
  return true;
}

bool callers_at_once(std::size_t tasks, unsigned threads) {
  std::atomic<bool> right = true;
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      for (int turn = 0; turn < 20; ++turn) {
        if (!each_task_once(tasks, threads)) right = false;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  return right;
}

// A task may itself run tasks.
bool nested(std::size_t tasks, unsigned threads) {
  std::atomic<bool> right = true;
  parallel_for(3, threads, [&](std::size_t) {
    if (!each_task_once(tasks, threads)) right = false;
  });
  return right;
}

// One error reaches the caller, and no task runs on after that.
bool errors(std::size_t tasks, unsigned threads) {
  std::vector<int> begun(tasks, 0), ended(tasks, 0);
  try {
    parallel_for(tasks, threads, [&](std::size_t task) {
      ++begun[task];
      if (task % 3 == 1) throw std::runtime_error("wanted");
      ++ended[task];
    });
  } catch (const std::runtime_error&) {
    int without_end = 0;
    for (std::size_t task = 0; task < tasks; ++task) without_end += begun[task] - ended[task];
    return without_end >= 1;
  }
  return tasks < 2;
}

// There is no OpenMP in this program, so the pool must step in.
bool openmp_wanted(std::size_t tasks, unsigned threads) {
  const OpenMpThreads wanted(true);
  return each_task_once(tasks, threads);
}

constexpr struct {
  const char* name;
  bool (*check)(std::size_t, unsigned);
} kWays[] = {{"alone", each_task_once},
             {"callers at once", callers_at_once},
             {"nested", nested},
             {"errors", errors},
             {"OpenMP wanted", openmp_wanted}};

}  // namespace

void check_threads(Isa isa, Report& report) {
  report.begin(isa, "threads");
  for (const auto& way : kWays) {
    for (const std::size_t tasks : kTasks) {
      for (const unsigned threads : kThreads) {
        report.compare(
            {Dtype::uint8, way.name, {{{"tasks", tasks}, {"threads", threads}}}}, [] {},
            [&] { return way.check(tasks, threads); });
      }
    }
  }
  report.end();
}

}  // namespace prunepack::check
