// Keys of given rank, from lists of keys in no order.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace prunepack {

// Counts the keys in bins once; a rank is then looked for in its bin alone.
template <class Bits>
class OrderStatistics {
 public:
  using Lists = std::vector<std::span<const Bits>>;

  // All keys are from `low` to `high`.
  OrderStatistics(Lists lists, Bits low, Bits high)
      : lists_(std::move(lists)), low_(low), shift_(shift_for(static_cast<Bits>(high - low))) {
    // Four counts of every bin, by turns: neighbours are often equal, and would wait for each
    // other.
    std::array<std::array<std::uint32_t, kBins>, 4> counts{};
    for (const auto list : lists_) {
      for (std::size_t i = 0; i < list.size(); ++i) ++counts[i % 4][bin_of(list[i])];
    }
    for (std::size_t bin = 0; bin < kBins; ++bin) {
      bins_[bin] = std::size_t{counts[0][bin]} + counts[1][bin] + counts[2][bin] + counts[3][bin];
    }
  }

  // The key that `rank` others come before, smallest first.
  Bits key_of_rank(std::size_t rank) const {
    std::size_t bin = 0;
    for (; rank >= bins_[bin]; ++bin) rank -= bins_[bin];
    if (shift_ == 0) return static_cast<Bits>(low_ + bin);
    std::vector<Bits> keys;
    keys.reserve(bins_[bin]);
    for (const auto list : lists_) {
      std::copy_if(list.begin(), list.end(), std::back_inserter(keys),
                   [&](Bits key) { return bin_of(key) == bin; });
    }
    const auto nth = keys.begin() + static_cast<std::ptrdiff_t>(rank);
    std::nth_element(keys.begin(), nth, keys.end());
    return *nth;
  }

 private:
  static constexpr int kBinBits = 10;
  static constexpr std::size_t kBins = std::size_t{1} << kBinBits;

  static int shift_for(Bits span) {
    return std::max(static_cast<int>(std::bit_width(span)) - kBinBits, 0);
  }
  std::size_t bin_of(Bits key) const {
    return static_cast<std::size_t>(static_cast<Bits>(key - low_) >> shift_);
  }

  Lists lists_;
  Bits low_;
  int shift_;
  std::array<std::size_t, kBins> bins_{};
};

}  // namespace prunepack
