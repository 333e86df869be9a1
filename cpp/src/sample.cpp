#include "sample.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/key.h"
#include "order_statistics.h"

namespace prunepack {
namespace {

// One run of neighbours from each of as many equal stretches. Neighbours share a cache line, so
// they cost one miss together.
constexpr std::size_t kRuns = 4096, kRunBytes = 32;

// The half width of the range, in standard errors of the estimated rank. It misses about one
// selection in a thousand, which then costs another pass; wider ranges cost all selections more.
constexpr double kStandardErrors = 3.3;

// A key with at least this part of the sample is tried alone: copying all its weights to a list
// would cost more than another pass.
constexpr double kManyTies = 1.0 / 16;

// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::size_t below(std::size_t bound) {
    state_ += 0x9e3779b97f4a7c15;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return static_cast<std::size_t>((z ^ (z >> 31)) % bound);
  }

 private:
  std::uint64_t state_;
};

template <class E>
class Sample {
 public:
  using Bits = typename E::Bits;

  Sample(const Population& population, unsigned attempt) : keys_(kRuns * kRun) {
    Random random(attempt);
    const std::size_t stretch = population.count() / kRuns;
    Bits computed[kRun];
    for (std::size_t run = 0; run < kRuns; ++run) {
      const std::size_t first = run * stretch + random.below(stretch - kRun + 1);
      const auto* from = static_cast<const Bits*>(population.read(first, kRun, computed));
      for (std::size_t i = 0; i < kRun; ++i) keys_[run * kRun + i] = E::key(from[i]);
    }
  }

  Guess range(double part_pruned, KeyRange possible, unsigned attempt) const {
    const double size = static_cast<double>(keys_.size()), rank = part_pruned * size;
    const OrderStatistics<Bits> sample({std::span<const Bits>(keys_)}, 0, E::kMaxKey);
    const Bits centre =
        sample.key_of_rank(std::min(static_cast<std::size_t>(rank), keys_.size() - 1));
    if (inside(centre, possible) && has_many_ties(centre)) {
      return guess({centre, centre});
    }

    const double half = (kStandardErrors + attempt) * standard_error(centre) * size + 2;
    KeyRange range{0, E::kMaxKey};
    if (rank - half > 0) range.low = sample.key_of_rank(static_cast<std::size_t>(rank - half));
    if (rank + half < size) range.high = sample.key_of_rank(static_cast<std::size_t>(rank + half));
    if (range.low < range.high && has_many_ties(range.low)) ++range.low;
    if (range.low < range.high && has_many_ties(range.high)) --range.high;
    return guess({std::clamp(range.low, possible.low, possible.high),
                  std::clamp(range.high, possible.low, possible.high)});
  }

 private:
  static constexpr std::size_t kRun = kRunBytes / sizeof(Bits);

  Guess guess(KeyRange range) const {
    const auto found =
        std::count_if(keys_.begin(), keys_.end(), [&](Bits key) { return inside(key, range); });
    return {range, static_cast<double>(found) / static_cast<double>(keys_.size())};
  }

  static bool inside(std::uint64_t key, KeyRange range) {
    return key >= range.low && key <= range.high;
  }

  bool has_many_ties(std::uint64_t key) const {
    const auto ties = std::count(keys_.begin(), keys_.end(), static_cast<Bits>(key));
    return static_cast<double>(ties) >= kManyTies * static_cast<double>(keys_.size());
  }

  // Of the part of the weights above `key`, as the sample estimates it. Weights may differ from
  // place to place, and sorted ones do so steadily: what each stretch adds to the error is seen in
  // how its run differs from the next one's (the estimator of successive differences; Wolter,
  // "Introduction to Variance Estimation", chapter 8).
  double standard_error(Bits key) const {
    double squares = 0, previous = 0;
    for (std::size_t run = 0; run < kRuns; ++run) {
      const auto first = keys_.begin() + static_cast<std::ptrdiff_t>(run * kRun);
      const auto above = static_cast<double>(
          std::count_if(first, first + kRun, [&](Bits other) { return other > key; }));
      if (run > 0) squares += (above - previous) * (above - previous);
      previous = above;
    }
    return std::sqrt(squares / 2) / static_cast<double>(keys_.size());
  }

  std::vector<Bits> keys_;
};

template <class E>
Guess likely_range_of(const Population& population, std::size_t pruned, KeyRange possible,
                      unsigned attempt) {
  const double part = static_cast<double>(pruned) / static_cast<double>(population.count());
  return Sample<E>(population, attempt).range(part, possible, attempt);
}

template <class E>
std::uint64_t max_key_of() {
  return E::kMaxKey;
}

constexpr PerDtype<decltype(&likely_range_of<Float32>)> kLikelyRange =
    PRUNEPACK_PER_ELEMENT(likely_range_of);
constexpr PerDtype<decltype(&max_key_of<Float32>)> kMaxKey = PRUNEPACK_PER_ELEMENT(max_key_of);

}  // namespace

Guess likely_range(const Population& population, std::size_t pruned, KeyRange possible,
                   unsigned attempt) {
  return kLikelyRange[population.dtype()](population, pruned, possible, attempt);
}

std::uint64_t max_key(Dtype dtype) { return kMaxKey[dtype](); }

}  // namespace prunepack
