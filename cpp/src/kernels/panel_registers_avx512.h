// The registers of dense and bitmask panels, one after the other: loaded or expanded.
// In an unnamed namespace; key.h says why.
#pragma once

#include "panels_avx512.h"

namespace prunepack::avx512 {
namespace {

// The registers of a dense panel. next(s) is called for s = 0 ... of every block in turn.
template <class Weights>
class DenseRegisters {
 public:
  DenseRegisters(const PanelShape&, const std::uint8_t* panel) noexcept : next_(panel) {}

  void begin_block() noexcept {}
  __m512i next(std::size_t) noexcept {
    fetch_ahead<1>(next_);
    const __m512i cells = _mm512_loadu_si512(next_);
    next_ += 64;
    return cells;
  }

 private:
  const std::uint8_t* next_;
};

// A mask from memory: moving it from a general register is slow, and what GCC 12 would do.
template <class Mask>
Mask mask_at(const Mask* mask) noexcept {
  Mask k;
  if constexpr (sizeof(Mask) == 2) asm("kmovw %1, %0" : "=k"(k) : "m"(*mask));
  if constexpr (sizeof(Mask) == 4) asm("kmovd %1, %0" : "=k"(k) : "m"(*mask));
  if constexpr (sizeof(Mask) == 8) asm("kmovq %1, %0" : "=k"(k) : "m"(*mask));
  return k;
}

template <class Weights>
class BitmaskRegisters {
  using Bits = typename Weights::Bits;
  using Mask = MaskOf<Bits>;
  static constexpr std::size_t kInWord = 64 / kLanes<Bits>;  // registers whose masks fill a word

 public:
  BitmaskRegisters(const PanelShape& shape, const std::uint8_t* panel) noexcept
      : masks_(panel - 32),
        values_(reinterpret_cast<const Bits*>(panel + bitmask_values_at(shape.blocks))) {}

  void begin_block() noexcept {
    masks_ += 32;
    fetch_ahead<8>(values_);
  }
  __m512i next(std::size_t s) noexcept {
    const std::uint64_t word = load_word(masks_ + s / kInWord * 8);
    const auto* mask = reinterpret_cast<const Mask*>(masks_) + s;
    const std::size_t before = popcount(word & first_bits(s % kInWord * kLanes<Bits>));
    const __m512i cells = LanesOf<Bits>::expand(mask_at(mask), values_ + before);
    if (s % kInWord == kInWord - 1) values_ += popcount(word);
    return cells;
  }

 private:
  const std::uint8_t* masks_;  // of the block
  const Bits* values_;
};

}  // namespace
}  // namespace prunepack::avx512
