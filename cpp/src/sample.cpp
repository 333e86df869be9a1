// A sample is taken twice: a few weights from everywhere say roughly where the cut is; then, of
// many more, only those around it are looked at.
#include "sample.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "candidates.h"
#include "fetch_ahead.h"
#include "kernels/key.h"
#include "order_statistics.h"
#include "prunepack/masks.h"

namespace prunepack {
namespace {

// The half width of the range, in standard errors of the estimated rank. It misses about one
// selection in a thousand, which then costs another pass; wider ranges cost all selections more.
constexpr double kStandardErrors = 3.3;

// A key with at least this part of the sample is not listed with others: copying all its weights
// would cost more than another pass.
constexpr double kCommon = 1.0 / 16;

// A range has many ties if there are this many standard errors of them at each key: what is looked
// through around the estimated place of the cut is then small.
constexpr double kErrorsPerKey = 4;
constexpr std::uint64_t kMostCommonKeys = 8;

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

// One run of neighbours from each of as many equal stretches of the population.
struct Runs {
  std::size_t count, length;
};

// Neighbours share a cache line, so they cost one miss together.
constexpr std::size_t kShortRuns = 1024, kShortRunBytes = 32;

// The second sample is a part of the population, but no more than is worth while, and no more than
// probably has so many keys to list. Numbers that are computed cost more to look at.
constexpr std::size_t kPart = 16, kComputedPart = 32;
constexpr std::size_t kLongRuns = 1024, kLeastLongRun = 128, kLongestRun = 1024;
constexpr double kMostListed = 64 * 1024;

// `part` of which are listed.
Runs long_runs(const Population& population, double part) {
  const std::size_t all = population.count() / (population.is_stored() ? kPart : kComputedPart);
  const std::size_t length = std::clamp(all / kLongRuns, kLeastLongRun, kLongestRun);
  const std::size_t count = std::min(all / length, kLongRuns);
  const double listed = part * static_cast<double>(length);  // of each run; perhaps none
  if (listed * static_cast<double>(count) <= kMostListed) return {count, length};
  return {static_cast<std::size_t>(kMostListed / listed), length};
}

// The weights of some runs: those with keys in a range are listed, those above are counted.
template <class E>
class Sample {
 public:
  using Bits = typename E::Bits;

  Sample(const Kernels& kernels, const Population& population, Runs runs, KeyRange range,
         unsigned attempt)
      : runs_(runs),
        range_(range),
        population_(population.count()),
        listed_(runs.count * runs.length + kSlackBytes) {
    const std::size_t stretch = population_ / runs.count;
    const BracketMask bracket = (*kernels.bracket_mask)[population.dtype()];
    Random random(attempt);
    Scratch<Bits> computed(runs.length);
    Scratch<std::uint8_t> mask(row_bytes(runs.length));
    Scratch<std::uint16_t> positions(runs.length + kSlackBytes);
    const auto start = [&](std::size_t run) {
      return run * stretch + random.below(stretch - runs.length + 1);
    };
    std::size_t next = start(0), listed = 0;
    for (std::size_t run = 0; run < runs.count; ++run) {
      const std::size_t first = std::exchange(next, run + 1 < runs.count ? start(run + 1) : 0);
      if (population.is_stored()) {  // to the processor, runs are in no order
        fetch<Cache::l1>(population.read(next, runs.length, nullptr), runs.length * sizeof(Bits));
      }
      const Above found =
          bracket(population.read(first, runs.length, computed.get()), runs.length, range.low,
                  range.high, mask.get(), listed_.get() + listed, positions.get());
      listed += found.tied;
      ends_.push_back(listed);
      above_.push_back(found.above);
      all_above_ += found.above;
    }
    ranked_.emplace(kernels, population.dtype(), typename OrderStatistics<Bits>::Lists{keys()});
  }

  // The part of the sample whose keys are in a range.
  double part_in(KeyRange range) const { return static_cast<double>(count_inside(range)) / size(); }

  // The keys among which that of rank `part` of all weights is almost certainly, if it is possible.
  KeyRange likely_range(double part, KeyRange possible, unsigned attempt) const {
    return place(part, possible, attempt).range;
  }

  Guess guess(double part, KeyRange possible, unsigned attempt) const {
    const Place place = this->place(part, possible, attempt);
    const KeyRange range = place.range;
    KeyRange listed = range;
    if (listed.low < listed.high && is_common(listed.low)) ++listed.low;
    if (listed.low < listed.high && is_common(listed.high)) --listed.high;
    return {
        range, listed, part_in(listed), place.key, outline(place.key), has_only_common_keys(place)};
  }

 private:
  double size() const { return static_cast<double>(runs_.count * runs_.length); }
  std::span<const Bits> keys() const { return {listed_.get(), ends_.back()}; }
  std::span<const Bits> keys_of_run(std::size_t run) const {
    const std::size_t begin = run == 0 ? 0 : ends_[run - 1];
    return {listed_.get() + begin, ends_[run] - begin};
  }

  std::size_t at_least(std::uint64_t key) const {
    return key > 0 ? ranked_->count_above(key - 1) : keys().size();
  }
  std::size_t at_least_in_run(std::size_t run, std::uint64_t key) const {
    const std::span<const Bits> here = keys_of_run(run);
    return key > 0 ? ranked_->count_above(here, key - 1) : here.size();
  }
  std::size_t count_inside(KeyRange range) const {
    return at_least(range.low) - at_least(range.high + 1);
  }
  bool is_common(std::uint64_t key) const { return part_in({key, key}) >= kCommon; }

  // Where the cut is, as far as the sample tells.
  struct Place {
    KeyRange range;
    double rank;
    std::uint64_t key;
    double error;  // of the rank
  };

  // Ranks count from the smallest listed key, so one is negative where a key is not listed because
  // it is smaller.
  Place place(double part, KeyRange possible, unsigned attempt) const {
    const KeyRange all{std::clamp(range_.low, possible.low, possible.high),
                       std::clamp(range_.high, possible.low, possible.high)};
    const auto first = static_cast<double>(keys().size() - at_least(all.low));
    const auto end = first + static_cast<double>(count_inside(all));
    if (first == end) return {all, 0, all.low, 0};
    const double below = size() - static_cast<double>(all_above_ + keys().size());
    const double rank = std::clamp(part * size() - below, first, end - 1);
    const std::uint64_t key = key_of(rank);
    const double error = standard_error(key);
    const double half = (kStandardErrors + attempt) * error + 2;
    return {{rank - half > first ? key_of(rank - half) : all.low,
             rank + half < end ? key_of(rank + half) : all.high},
            rank,
            key,
            error};
  }

  bool has_only_common_keys(const Place& place) const {
    const auto [low, high] = place.range;
    if (low == high) return true;
    if (high - low >= kMostCommonKeys) return false;
    const double many = kErrorsPerKey * std::max(place.error, 1.0);
    for (std::uint64_t key = low; key <= high; ++key) {
      if (static_cast<double>(count_inside({key, key})) < many) return false;
    }
    return true;
  }

  std::uint64_t key_of(double rank) const {
    return ranked_->key_of_rank(static_cast<std::size_t>(rank), range_.low, range_.high);
  }

  // Of the rank of `key`, as the sample estimates it: that of the first weight that has it, or of
  // the first one above.
  double standard_error(std::uint64_t key) const {
    return std::max(error_of_count(key), error_of_count(key + 1));
  }

  // Of the number of weights whose key is at least `key`. Weights may differ from place to place,
  // and sorted ones do so steadily: what each stretch adds to the error is seen in how its run
  // differs from the next one's (the estimator of successive differences; Wolter, "Introduction to
  // Variance Estimation", chapter 8).
  double error_of_count(std::uint64_t key) const {
    double squares = 0, previous = 0;
    for (std::size_t run = 0; run < runs_.count; ++run) {
      const auto count = static_cast<double>(above_[run] + at_least_in_run(run, key));
      if (run > 0) squares += (count - previous) * (count - previous);
      previous = count;
    }
    return std::sqrt(squares / 2);
  }

  Outline outline(std::uint64_t key) const {
    const auto weights = static_cast<double>(population_), each = weights / size();
    std::vector<double> above, tied;
    for (std::size_t run = 0; run < runs_.count; ++run) {
      const std::size_t larger = at_least_in_run(run, key + 1);
      above.push_back(each * static_cast<double>(above_[run] + larger));
      tied.push_back(each * static_cast<double>(at_least_in_run(run, key) - larger));
    }
    return {weights, above, tied};
  }

  Runs runs_;
  KeyRange range_;
  std::size_t population_;
  Scratch<Bits> listed_;
  std::vector<std::size_t> ends_, above_;  // of each run, among the listed; how many are above
  std::size_t all_above_ = 0;
  std::optional<OrderStatistics<Bits>> ranked_;  // the listed
};

template <class E>
Guess likely_cut_of(const Kernels& kernels, const Population& population, std::size_t pruned,
                    KeyRange possible, unsigned attempt) {
  constexpr Runs short_runs{kShortRuns, kShortRunBytes / sizeof(typename E::Bits)};
  const double part = static_cast<double>(pruned) / static_cast<double>(population.count());
  const Sample<E> rough(kernels, population, short_runs, {0, E::kMaxKey}, attempt);
  const KeyRange range = rough.likely_range(part, possible, attempt);
  const Runs longer = long_runs(population, rough.part_in(range));
  return Sample<E>(kernels, population, longer, range, attempt).guess(part, possible, attempt);
}

template <class E>
std::uint64_t max_key_of() {
  return E::kMaxKey;
}

constexpr PerDtype<decltype(&likely_cut_of<Float32>)> kLikelyCut =
    PRUNEPACK_PER_ELEMENT(likely_cut_of);
constexpr PerDtype<decltype(&max_key_of<Float32>)> kMaxKey = PRUNEPACK_PER_ELEMENT(max_key_of);

}  // namespace

Guess likely_cut(const Kernels& kernels, const Population& population, std::size_t pruned,
                 KeyRange possible, unsigned attempt) {
  return kLikelyCut[population.dtype()](kernels, population, pruned, possible, attempt);
}

Outline::Outline(double size, const std::vector<double>& above, const std::vector<double>& tied)
    : stretch_(size / static_cast<double>(above.size())), above_{0}, tied_{0} {
  for (const double more : above) above_.push_back(above_.back() + more);
  for (const double more : tied) tied_.push_back(tied_.back() + more);
}

double Outline::before(const std::vector<double>& sums, std::size_t place) const {
  if (sums.empty()) return 0;
  const double stretches = static_cast<double>(place) / stretch_;
  const std::size_t whole = std::min(static_cast<std::size_t>(stretches), sums.size() - 2);
  return std::lerp(sums[whole], sums[whole + 1], stretches - static_cast<double>(whole));
}

std::size_t Outline::with_tied_after(double tied, std::size_t first, std::size_t end) const {
  if (tied_.empty()) return end;
  const double before_it = before(tied_, end) - tied;
  const auto next = std::upper_bound(tied_.begin() + 1, tied_.end() - 1, before_it);
  const double sum = *(next - 1), more = *next - sum;
  const double within = more > 0 ? std::clamp((before_it - sum) / more, 0.0, 1.0) : 0;
  const double stretches = static_cast<double>(next - 1 - tied_.begin()) + within;
  return std::clamp(static_cast<std::size_t>(stretches * stretch_), first, end);
}

std::uint64_t max_key(Dtype dtype) { return kMaxKey[dtype](); }

}  // namespace prunepack
