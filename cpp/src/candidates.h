// What a pass lists to be decided later: keys, and where they are.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "scratch.h"

namespace prunepack {

// Lists that the kernel bracket_mask may overrun by this much.
inline constexpr std::size_t kSlackBytes = 64;

// Candidates in the order of the weights, step by step; positions count from the start of their
// step. Grows without initialising.
template <class Bits>
class Candidates {
 public:
  void reserve(std::size_t more) {
    const std::size_t wanted = count_ + more;
    if (wanted <= capacity_) return;
    capacity_ = std::max(wanted, 2 * capacity_);
    grow(keys_);
    grow(positions_);
  }
  Bits* next_key() { return keys_.get() + count_; }
  std::uint16_t* next_position() { return positions_.get() + count_; }
  void added_step(std::size_t more) {
    count_ += more;
    steps_.push_back(count_);
  }

  struct Step {
    std::span<const Bits> keys;
    std::span<const std::uint16_t> positions;
  };
  std::size_t steps() const { return steps_.size(); }
  Step step(std::size_t i) const {
    const std::size_t begin = i == 0 ? 0 : steps_[i - 1], end = steps_[i];
    return {{keys_.get() + begin, end - begin}, {positions_.get() + begin, end - begin}};
  }
  std::span<const Bits> keys() const { return {keys_.get(), count_}; }

 private:
  template <class Item>
  void grow(Scratch<Item>& list) const {
    Scratch<Item> larger(capacity_ + kSlackBytes / sizeof(Item));
    if (count_ > 0) std::copy_n(list.get(), count_, larger.get());
    list = std::move(larger);
  }

  Scratch<Bits> keys_;
  Scratch<std::uint16_t> positions_;
  std::vector<std::size_t> steps_;  // where each step's candidates end
  std::size_t count_ = 0, capacity_ = 0;
};

}  // namespace prunepack
