// Keys of given rank, from lists of keys in no order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "prunepack/kernels.h"

namespace prunepack {

// A rank is searched by counting what is above a key, as fast as the kernels do that.
template <class Bits>
class OrderStatistics {
 public:
  using Lists = std::vector<std::span<const Bits>>;

  OrderStatistics(const Kernels& kernels, Dtype dtype, Lists lists)
      : above_mask_((*kernels.above_mask)[dtype]), lists_(std::move(lists)) {
    for (const auto list : lists_) count_ += list.size();
  }

  std::size_t count() const { return count_; }

  std::size_t count_above(std::uint64_t key) const {
    std::size_t above = 0;
    for (const auto list : lists_) above += count_above(list, key);
    return above;
  }
  std::size_t count_above(std::span<const Bits> list, std::uint64_t key) const {
    std::uint8_t mask[kBlock / 8];
    std::size_t above = 0;
    for (std::size_t i = 0; i < list.size(); i += kBlock) {
      above += above_mask_(list.data() + i, std::min(kBlock, list.size() - i), key, mask);
    }
    return above;
  }

  // The key that `rank` others come before, smallest first. It is from `low` to `high`.
  std::uint64_t key_of_rank(std::size_t rank, std::uint64_t low, std::uint64_t high) const {
    const std::size_t after = count_ - rank;  // more than that are above every key below `low`
    std::size_t above_low = count_, above_high = 0;
    for (unsigned step = 0; low < high; ++step) {
      const std::uint64_t span = high - low;
      std::uint64_t key = low + span / 2;
      if (step % 2 == 1) {  // in proportion, every other time
        const double part = static_cast<double>(above_low - after) + 0.5;
        const double along = part / static_cast<double>(above_low - above_high + 1);
        key =
            low + std::min(static_cast<std::uint64_t>(along * static_cast<double>(span)), span - 1);
      }
      const std::size_t above = count_above(key);
      if (above < after) {
        high = key;
        above_high = above;
      } else {
        low = key + 1;
        above_low = above;
      }
    }
    return low;
  }

 private:
  static constexpr std::size_t kBlock = 4096;

  AboveMask above_mask_;
  Lists lists_;
  std::size_t count_ = 0;
};

}  // namespace prunepack
