#include "contest.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "prunepack/threads.h"
#include "timing.h"

namespace prunepack::bench {
namespace {

using Bytes = std::vector<std::uint8_t>;

// A problem with the answer scalar gives.
class Solved {
 public:
  explicit Solved(const Contest& contest) : problem_(contest.make()) {
    run(*kernels_for(Isa::scalar), default_threads());
    for (const auto& result : results()) answer_.emplace_back(result.begin(), result.end());
  }

  const Problem& problem() const { return problem_; }

  // Checked once: a benchmark is called again and again until it has taken long enough.
  bool solved_by(const Kernels& kernels, unsigned threads) {
    const auto [known, is_new] = solvers_.try_emplace({kernels.isa, threads});
    if (is_new) {
      run(kernels, threads);
      if (problem_.run_dense) problem_.run_dense(kernels, threads);  // may prepare for this ISA
      const auto now = results();
      known->second =
          std::equal(now.begin(), now.end(), answer_.begin(), answer_.end(),
                     [](const auto& a, const auto& b) { return std::ranges::equal(a, b); });
    }
    return known->second;
  }

 private:
  // Clears what earlier runs wrote, so that nothing is right by their work.
  void run(const Kernels& kernels, unsigned threads) {
    for (const SharedBuffer& output : problem_.outputs) {
      std::fill_n(output->data(), output->bytes(), std::uint8_t{0xee});
    }
    problem_.run(kernels, threads);
  }

  std::vector<std::span<const std::uint8_t>> results() const {
    if (problem_.results) return problem_.results();
    std::vector<std::span<const std::uint8_t>> all;
    for (const SharedBuffer& output : problem_.outputs) {
      all.emplace_back(output->data(), output->bytes());
    }
    return all;
  }

  Problem problem_;
  std::vector<Bytes> answer_;
  std::map<std::pair<Isa, unsigned>, bool> solvers_;
};

// Benchmarks of one contest follow each other: the problem of the last one is kept for the next.
Solved& solved(const std::shared_ptr<const Contest>& contest) {
  static std::shared_ptr<const Contest> current;
  static std::unique_ptr<Solved> kept;
  if (current != contest) {
    kept.reset();
    kept = std::make_unique<Solved>(*contest);
    current = contest;
  }
  return *kept;
}

// The reference's output. It only ever grows.
std::uint8_t* scratch(std::size_t bytes) {
  static std::unique_ptr<Buffer> buffer;
  if (!buffer || buffer->bytes() < bytes) buffer = std::make_unique<Buffer>(bytes);
  return buffer->data();
}

class Race {
 public:
  Race(const Contest& contest, const Problem& problem, const Kernels& kernels, unsigned threads)
      : contest_(contest), problem_(problem), kernels_(kernels), threads_(threads) {
    add(threads);
    if (threads > 1) add(1);
    if (contest.reference == Reference::dense) add_reference(Reference::read, threads);
  }

  // Each in its turn; returns the seconds of the operation.
  double round() {
    for (Timed& runner : runners_) runner.sample();
    return runners_[0].samples().back();
  }

  void report(benchmark::State& state) const {
    const auto count = [&](const std::string& what, double number) {
      state.counters[what] = number;
    };
    const Spread ratio = speed_up(runners_[0], runners_[1]);
    count(text("x", name(contest_.reference)), ratio.median);
    count("p10", ratio.p10);
    count("p90", ratio.p90);
    if (contest_.reference == Reference::dense) {
      count("xREAD", speed_up(runners_.front(), runners_.back()).median);
    }
    count("GB/s",
          static_cast<double>(contest_.dense_bytes) * 1e-9 / spread(runners_[0].samples()).median);
    if (threads_ > 1) {
      count("speedup", speed_up(runners_[0], runners_[2]).median);
      count("reference_speedup", speed_up(runners_[1], runners_[3]).median);
    }
  }

 private:
  // The operation and its reference.
  void add(unsigned threads) {
    runners_.emplace_back([this, threads] { problem_.run(kernels_, threads); }, clock(threads));
    add_reference(contest_.reference, threads);
  }

  void add_reference(Reference reference, unsigned threads) {
    const auto run_dense = [this, threads] { problem_.run_dense(kernels_, threads); };
    const auto run_memory = [this, reference, threads, out = scratch(contest_.dense_bytes)] {
      bench::run(reference, problem_.dense->data(), out, contest_.dense_bytes, threads);
    };
    if (reference == Reference::dense) {
      runners_.emplace_back(run_dense, clock(threads));
    } else {
      runners_.emplace_back(run_memory, clock(threads));
    }
  }

  // Several threads can only be timed by the clock on the wall.
  static clockid_t clock(unsigned threads) {
    return threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  }

  const Contest& contest_;
  const Problem& problem_;
  const Kernels& kernels_;
  unsigned threads_;
  std::vector<Timed> runners_;
};

void hold(benchmark::State& state, const std::shared_ptr<const Contest>& contest,
          const Kernels& kernels, unsigned threads) {
  Solved& problem = solved(contest);
  if (!problem.solved_by(kernels, threads)) return state.SkipWithError("differs from scalar");
  Race race(*contest, problem.problem(), kernels, threads);
  for (auto _ : state) {
    (void)_;
    state.SetIterationTime(race.round());
  }
  race.report(state);
}

void add(const std::shared_ptr<const Contest>& contest, const Kernels& kernels, unsigned threads,
         const std::string& ending) {
  const std::string full =
      text(contest->name, "/", name(kernels.isa), "/bytes:", contest->dense_bytes, ending);
  benchmark::RegisterBenchmark(full.c_str(),
                               [contest, &kernels, threads](benchmark::State& state) {
                                 hold(state, contest, kernels, threads);
                               })
      ->UseManualTime()
      ->Unit(benchmark::kMicrosecond);
}

}  // namespace

void add_kernel(const Contest& contest, const std::vector<const Kernels*>& tables) {
  const auto shared = std::make_shared<const Contest>(contest);
  for (const Kernels* kernels : tables) add(shared, *kernels, 1, "");
}

void add_operation(const Contest& contest, const std::vector<const Kernels*>& tables) {
  const auto shared = std::make_shared<const Contest>(contest);
  for (const Kernels* kernels : tables) {
    for (const unsigned threads : {1u, 2u}) {
      add(shared, *kernels, threads, text("/threads:", threads));
    }
  }
}

std::vector<std::size_t>& sizes() {
  static std::vector<std::size_t> bytes{kSmallestSize, std::size_t{8} << 20,
                                        std::size_t{256} << 20};
  return bytes;
}

std::vector<const Kernels*> usable_tables() {
  std::vector<const Kernels*> tables;
  for (const Isa isa : kAllIsas) {
    if (const Kernels* kernels = kernels_for(isa)) tables.push_back(kernels);
  }
  return tables;
}

}  // namespace prunepack::bench
