// A search for the threshold of each of many groups of weights, by counting. In an unnamed
// namespace; key.h says why.
#pragma once

#include <cstddef>
#include <cstdint>

namespace prunepack {
namespace {

// A key that no more weights of a group are above than are kept, and no fewer above or at. Of those
// that have it, the first few are pruned.
struct Threshold {
  std::uint64_t key;
  std::size_t pruned_ties;
};

// How many weights have keys above a key, and how many have it.
struct Counted {
  std::size_t above, tied;
};

// Neighbours are alike, so each search begins at the mean of the thresholds found before, and goes
// as far as was the way from rank to rank then. Once the threshold lies between two keys counted
// at, it goes where it would be if the weights between were spread evenly, and now and then to the
// middle, which bounds the number of steps.
class ThresholdSearch {
 public:
  explicit ThresholdSearch(std::uint64_t highest) noexcept
      : highest_(highest), mean_(static_cast<double>(highest) / 2) {}

  // Of a group of `size` weights. `count_at(key)` says how many there are above and at a key.
  template <class CountAt>
  Threshold find(std::size_t size, std::size_t kept, const CountAt& count_at) noexcept {
    Range range{0, highest_, size, 0};
    std::uint64_t key = within(range, mean_);
    double first_gap = 0;  // in ranks, between the first key counted at and the threshold
    const std::uint64_t first_key = key;
    for (unsigned step = 0;; ++step) {
      const Counted counted = count_at(key);
      const std::size_t at_least = counted.above + counted.tied;
      if (step == 0) first_gap = gap(counted, kept);
      if (counted.above <= kept && kept <= at_least) {
        learn(key, first_key, first_gap);
        return {key, at_least - kept};
      }
      if (counted.above > kept) {
        range.low = key + 1;
        range.not_below = counted.above;
      } else {
        range.high = key - 1;
        range.above = at_least;
      }
      key = next_key(range, key, gap(counted, kept), step, kept);
    }
  }

 private:
  // Where the threshold can be: how many weights have keys of `low` and more, and how many have
  // keys above `high`.
  struct Range {
    std::uint64_t low, high;
    std::size_t not_below, above;
  };

  static std::uint64_t within(const Range& range, double key) noexcept {
    if (!(key > static_cast<double>(range.low))) return range.low;
    return key < static_cast<double>(range.high) ? static_cast<std::uint64_t>(key) : range.high;
  }

  // How many ranks the threshold is above a key, from the middle of those that have it.
  static double gap(const Counted& counted, std::size_t kept) noexcept {
    return static_cast<double>(counted.above) + static_cast<double>(counted.tied) / 2 -
           static_cast<double>(kept);
  }

  std::uint64_t next_key(const Range& range, std::uint64_t key, double ranks, unsigned step,
                         std::size_t kept) const noexcept {
    if (range.low == 0 || range.high == highest_) {
      const double reach = static_cast<double>(std::uint64_t{1} << (2 * step < 62 ? 2 * step : 62));
      const double by = ranks * keys_per_rank_;
      return within(range,
                    static_cast<double>(key) + 0.5 + (by < 0 ? by - reach + 1 : by + reach - 1));
    }
    const std::uint64_t span = range.high - range.low;
    if (step % 4 == 3) return range.low + span / 2;
    const double share = static_cast<double>(range.not_below - kept) /
                         static_cast<double>(range.not_below - range.above);
    return within(range, static_cast<double>(range.low) + share * (static_cast<double>(span) + 1));
  }

  void learn(std::uint64_t key, std::uint64_t first_key, double first_gap) noexcept {
    const double moved = static_cast<double>(key) - static_cast<double>(first_key);
    // The slope of the line through what was seen, which forgets: an eighth with every group.
    moved_ += (moved * first_gap - moved_) / 8;
    gaps_ += (first_gap * first_gap - gaps_) / 8;
    if (gaps_ > 0 && moved_ > 0) keys_per_rank_ = moved_ / gaps_;
    mean_ += (static_cast<double>(key) + 0.5 - mean_) * rate_;
    if (rate_ > 1.0 / 8) rate_ /= 2;
  }

  std::uint64_t highest_;
  double mean_, rate_ = 1;  // how much a group counts in the mean
  double moved_ = 0, gaps_ = 0, keys_per_rank_ = 1;
};

}  // namespace
}  // namespace prunepack
