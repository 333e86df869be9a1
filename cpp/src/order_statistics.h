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
    for (const auto list : lists_) {
      for (const Bits key : list) ++bins_[bin_of(key)];
    }
  }

  // The key that `rank` others come before, smallest first.
  Bits key_of_rank(std::size_t rank) const {
    std::size_t bin = 0;
    for (; rank >= bins_[bin]; ++bin) rank -= bins_[bin];
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
  static constexpr int kBinBits = 12;

  static int shift_for(Bits span) {
    return std::max(static_cast<int>(std::bit_width(span)) - kBinBits, 0);
  }
  std::size_t bin_of(Bits key) const {
    return static_cast<std::size_t>(static_cast<Bits>(key - low_) >> shift_);
  }

  Lists lists_;
  Bits low_;
  int shift_;
  std::array<std::uint32_t, std::size_t{1} << kBinBits> bins_{};
};

}  // namespace prunepack
