#include "sample.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/key.h"

namespace prunepack {
namespace {

// Runs of neighbours share a cache line, so they cost one miss together; taken from an aligned
// address, they never share two.
constexpr std::size_t kRuns = 4096, kRunBytes = 32;

// The half width of the range, in standard errors of the estimated rank: misses about one selection
// in 150,000.
constexpr double kStandardErrors = 4.5;

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

  Sample(const Bits* weights, std::size_t count, unsigned attempt) : keys_(kRuns * kRun) {
    Random random(attempt);
    for (std::size_t run = 0; run < kRuns; ++run) {
      const Bits* from = weights + random.below(count / kRun) * kRun;
      for (std::size_t i = 0; i < kRun; ++i) keys_[run * kRun + i] = E::key(from[i]);
    }
  }

  KeyRange range(double part_pruned, KeyRange possible, unsigned attempt) {
    const double size = static_cast<double>(keys_.size()), rank = part_pruned * size;
    std::vector<Bits> sorted = keys_;
    const Bits centre = at(sorted, rank);
    if (inside(centre, possible) && has_many_ties(centre)) return {centre, centre};

    const double half = (kStandardErrors + attempt) * standard_error(centre) * size + 2;
    KeyRange range{0, E::kMaxKey};
    if (rank - half > 0) range.low = at(sorted, rank - half);
    if (rank + half < size - 1) range.high = at(sorted, rank + half);
    if (range.low < range.high && has_many_ties(range.low)) ++range.low;
    if (range.low < range.high && has_many_ties(range.high)) --range.high;
    return {std::clamp(range.low, possible.low, possible.high),
            std::clamp(range.high, possible.low, possible.high)};
  }

 private:
  static constexpr std::size_t kRun = kRunBytes / sizeof(Bits);

  static bool inside(std::uint64_t key, KeyRange range) {
    return key >= range.low && key <= range.high;
  }

  bool has_many_ties(std::uint64_t key) const {
    const auto ties = std::count(keys_.begin(), keys_.end(), static_cast<Bits>(key));
    return static_cast<double>(ties) >= kManyTies * static_cast<double>(keys_.size());
  }

  static Bits at(std::vector<Bits>& keys, double rank) {
    const auto nth = keys.begin() + static_cast<std::ptrdiff_t>(std::clamp(
                                        rank, 0.0, static_cast<double>(keys.size() - 1)));
    std::nth_element(keys.begin(), nth, keys.end());
    return *nth;
  }

  // Of the part of the weights above `key`, as the sample estimates it. Neighbours may be alike (in
  // sorted weights they are), so what counts is the spread between runs, not between elements.
  double standard_error(Bits key) const {
    double sum = 0, squares = 0;
    for (std::size_t run = 0; run < kRuns; ++run) {
      const auto first = keys_.begin() + static_cast<std::ptrdiff_t>(run * kRun);
      const auto above = static_cast<double>(
          std::count_if(first, first + kRun, [&](Bits other) { return other > key; }));
      sum += above;
      squares += above * above;
    }
    const double runs = static_cast<double>(kRuns), mean = sum / runs;
    return std::sqrt(std::max(squares / runs - mean * mean, 0.0) / runs) / kRun;
  }

  std::vector<Bits> keys_;
};

template <class E>
KeyRange likely_range_of(const std::uint8_t* weights, std::size_t count, std::size_t pruned,
                         KeyRange possible, unsigned attempt) {
  const auto* bits = reinterpret_cast<const typename E::Bits*>(weights);
  return Sample<E>(bits, count, attempt)
      .range(static_cast<double>(pruned) / static_cast<double>(count), possible, attempt);
}

template <class E>
std::uint64_t max_key_of() {
  return E::kMaxKey;
}

constexpr PerDtype<decltype(&likely_range_of<Float32>)> kLikelyRange =
    PRUNEPACK_PER_ELEMENT(likely_range_of);
constexpr PerDtype<decltype(&max_key_of<Float32>)> kMaxKey = PRUNEPACK_PER_ELEMENT(max_key_of);

}  // namespace

KeyRange likely_range(const std::uint8_t* weights, Dtype dtype, std::size_t count,
                      std::size_t pruned, KeyRange possible, unsigned attempt) {
  return kLikelyRange[dtype](weights, count, pruned, possible, attempt);
}

std::uint64_t max_key(Dtype dtype) { return kMaxKey[dtype](); }

}  // namespace prunepack
