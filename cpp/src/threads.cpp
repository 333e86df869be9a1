// A pool of sleeping workers, shared by every caller and made anew in a forked child.
//
// A caller puts its job in a queue, works on it itself, and waits only for tasks that a worker has
// already begun: so it never waits for a thread that may not exist, and calls cannot deadlock.
#include "prunepack/threads.h"

#include <dlfcn.h>
#include <pthread.h>

#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <charconv>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

namespace prunepack {
namespace {

struct Job {
  Job(std::size_t task_count, const std::function<void(std::size_t)>& function)
      : tasks(task_count), work(function) {}

  // Takes tasks until there are none; what each thread does.
  void work_on() {
    for (;;) {
      const std::size_t task = next.fetch_add(1, std::memory_order_relaxed);
      if (task >= tasks || failed.load(std::memory_order_relaxed)) return;
      try {
        work(task);
      } catch (...) {
        if (!failed.exchange(true)) error = std::current_exception();
      }
    }
  }

  const std::size_t tasks;
  const std::function<void(std::size_t)>& work;
  std::atomic<std::size_t> next = 0;
  std::atomic<bool> failed = false;
  std::exception_ptr error;  // written by the one thread that sets `failed`
  unsigned helpers = 0;      // workers inside; guarded by the pool's mutex
  unsigned wanted = 0;       // workers that may still join; guarded by the pool's mutex
};

class Pool {
 public:
  void run(Job& job, unsigned helpers) {
    {
      const std::lock_guard lock(mutex_);
      add_workers(helpers);
      job.wanted = helpers;
      queue_.push_back(&job);
    }
    if (helpers == 1) {
      job_added_.notify_one();
    } else {
      job_added_.notify_all();
    }
    job.work_on();

    std::unique_lock lock(mutex_);
    std::erase(queue_, &job);
    job_left_.wait(lock, [&] { return job.helpers == 0; });
    if (job.error) std::rethrow_exception(job.error);
  }

 private:
  // If the system gives no more threads, the caller does the work with those there are.
  void add_workers(unsigned helpers) {
    try {
      for (; workers_ < helpers; ++workers_) std::thread([this] { serve(); }).detach();
    } catch (const std::system_error&) {
    }
  }

  void serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      job_added_.wait(lock, [&] { return !queue_.empty(); });
      Job& job = *queue_.front();
      ++job.helpers;
      if (--job.wanted == 0) queue_.pop_front();
      lock.unlock();
      job.work_on();
      lock.lock();
      if (--job.helpers == 0) job_left_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable job_added_, job_left_;
  std::deque<Job*> queue_;
  unsigned workers_ = 0;
};

// Never destroyed: workers sleep in it until the process ends. After a fork the child has none of
// them, and perhaps a locked mutex, so it leaves the old pool alone and begins a new one.
Pool* the_pool = nullptr;

Pool& pool() {
  static const bool ready = [] {
    the_pool = new Pool;
    pthread_atfork(nullptr, nullptr, [] { the_pool = new Pool; });
    return true;
  }();
  (void)ready;
  return *the_pool;
}

// GOMP_parallel(function, data, threads, flags): how compiled code asks GCC's OpenMP runtime, and
// LLVM's too, to call a function on a team of threads, of which the caller is one.
using OpenMpParallel = void (*)(void (*)(void*), void*, unsigned, unsigned);

thread_local bool openmp_wanted = false;

// The cores that this process may use, once they were asked for.
std::atomic<unsigned> known_cores = 0;

// A team does not survive a fork, and the runtime would wait for it for ever. The child may be
// given other cores.
std::atomic<bool> forked = false;
const bool forks_are_seen = pthread_atfork(nullptr, nullptr, [] {
                              forked = true;
                              known_cores = 0;
                            }) == 0;

OpenMpParallel openmp_parallel() {
  if (!forks_are_seen || forked) return nullptr;
  // Not kept: the library that brings it may be loaded later.
  return reinterpret_cast<OpenMpParallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
}

unsigned ask_for_cores() {
#ifdef __linux__  // elsewhere a process may use every core
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) == 0) {
    return static_cast<unsigned>(std::max(1, CPU_COUNT(&cores)));
  }
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

// To ask takes longer than to pack a small tensor.
unsigned usable_cores() {
  unsigned cores = known_cores;
  if (cores == 0 || !forks_are_seen) known_cores = cores = ask_for_cores();
  return cores;
}

}  // namespace

unsigned default_threads() {
  const char* text = std::getenv("PRUNEPACK_NUM_THREADS");
  if (text == nullptr || *text == '\0') return std::min(usable_cores(), kMostThreads);
  unsigned threads = 0;
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, threads);
  if (error != std::errc() || stop != end || threads < 1 || threads > kMostThreads) {
    throw std::invalid_argument("PRUNEPACK_NUM_THREADS must be a number from 1 to 1024, got '" +
                                std::string(text) + "'");
  }
  return threads;
}

void parallel_for(std::size_t tasks, unsigned threads,
                  const std::function<void(std::size_t)>& work) {
  const std::size_t helpers = std::min<std::size_t>({threads, tasks, kMostThreads});
  if (helpers <= 1) {
    for (std::size_t task = 0; task < tasks; ++task) work(task);
    return;
  }
  Job job(tasks, work);
  const OpenMpParallel openmp = openmp_wanted ? openmp_parallel() : nullptr;
  if (openmp == nullptr) return pool().run(job, static_cast<unsigned>(helpers - 1));
  openmp([](void* data) { static_cast<Job*>(data)->work_on(); }, &job,
         static_cast<unsigned>(helpers), 0);
  if (job.error) std::rethrow_exception(job.error);
}

OpenMpThreads::OpenMpThreads(bool wanted) : before_(std::exchange(openmp_wanted, wanted)) {}

OpenMpThreads::~OpenMpThreads() { openmp_wanted = before_; }

}  // namespace prunepack
