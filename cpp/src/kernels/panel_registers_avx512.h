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
    const __m512i cells = _mm512_loadu_si512(next_);
    next_ += 64;
    return cells;
  }

 private:
  const std::uint8_t* next_;
};

template <class Weights>
class BitmaskRegisters {
  using Bits = typename Weights::Bits;
  using Mask = MaskOf<Bits>;
  static constexpr std::size_t kInWord = 64 / kLanes<Bits>;  // registers whose masks fill a word

 public:
  BitmaskRegisters(const PanelShape&, const std::uint8_t* panel) noexcept : values_(panel) {}

  void begin_block() noexcept {
    masks_ = values_;
    values_ += kBlockMaskBytes;
  }
  __m512i next(std::size_t s) noexcept {
    const std::uint64_t word = load_word(masks_ + s / kInWord * 8);
    const std::size_t before = popcount(word & first_bits(s % kInWord * kLanes<Bits>));
    const __m512i cells = LanesOf<Bits>::expand(mask(s), values_ + before * sizeof(Bits));
    if (s % kInWord == kInWord - 1) values_ += popcount(word) * sizeof(Bits);
    return cells;
  }

 private:
  // Where a word is the masks of four registers, shifting it is faster than four loads.
  Mask mask(std::size_t s) noexcept {
    if constexpr (kInWord < 4) return mask_at<Mask>(masks_ + s * sizeof(Mask));
    word_ = s % kInWord == 0 ? mask_at<__mmask64>(masks_ + s / kInWord * 8)
                             : _kshiftri_mask64(word_, kLanes<Bits>);
    return static_cast<Mask>(word_);
  }

  const std::uint8_t* masks_ = nullptr;  // of the block
  const std::uint8_t* values_;
  __mmask64 word_ = 0;
};

}  // namespace
}  // namespace prunepack::avx512
