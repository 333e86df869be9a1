// The registers of dense and bitmask panels, one after the other: loaded or expanded.
// In an unnamed namespace; key.h says why.
#pragma once

#include "panels_avx512.h"

namespace prunepack::avx512 {
namespace {

// The registers of a dense panel. next(s) is called for s = 0 ... of every block in turn.
template <class Weights>
class DenseRegisters {
  using Cells = typename Weights::Cells;

 public:
  DenseRegisters(const PanelShape&, const std::uint8_t* panel) noexcept : next_(panel) {}

  void begin_block() noexcept {}
  Cells next(std::size_t) noexcept {
    const Cells cells = Weights::load(next_);
    next_ += 64;
    return cells;
  }

 private:
  const std::uint8_t* next_;
};

// Elements, the first of `values`, where `mask` says.
template <class Bits, class Piece>
Piece expanded(std::uint64_t mask, const std::uint8_t* values) noexcept {
  if constexpr (sizeof(Piece) == 64) {
    return LanesOf<Bits>::expand(static_cast<MaskOf<Bits>>(mask), values);
  } else {
    static_assert(sizeof(Bits) == 2);
    return _mm256_mask_expandloadu_epi16(_mm512_castsi512_si256(fresh_zero()),
                                         static_cast<__mmask16>(mask), values);
  }
}

// Cells are expanded piece by piece.
template <class Weights>
class BitmaskRegisters {
  using Bits = typename Weights::Bits;
  using Cells = typename Weights::Cells;
  using Piece = typename Weights::Piece;
  static constexpr std::size_t kPieces = sizeof(Cells) / sizeof(Piece);
  static constexpr std::size_t kPieceLanes = sizeof(Piece) / sizeof(Bits);
  static constexpr std::size_t kInWord = 64 / kPieceLanes;  // pieces whose masks fill a word

 public:
  BitmaskRegisters(const PanelShape&, const std::uint8_t* panel) noexcept : values_(panel) {}

  void begin_block() noexcept {
    masks_ = values_;
    values_ += kBlockMaskBytes;
  }
  Cells next(std::size_t s) noexcept {
    if constexpr (kPieces == 1) {
      return piece(s);
    } else {
      const Piece low = piece(2 * s);
      return {{low, piece(2 * s + 1)}};
    }
  }

 private:
  Piece piece(std::size_t i) noexcept {
    const std::uint64_t word = load_word(masks_ + i / kInWord * 8);
    const std::size_t before = popcount(word & first_bits(i % kInWord * kPieceLanes));
    const Piece elements = expanded<Bits, Piece>(mask(i), values_ + before * sizeof(Bits));
    if (i % kInWord == kInWord - 1) values_ += popcount(word) * sizeof(Bits);
    return elements;
  }

  std::uint64_t mask(std::size_t i) noexcept {
    if constexpr (kPieceLanes == 64) return mask_at<__mmask64>(masks_ + 8 * i);
    if constexpr (kPieceLanes == 32) return mask_at<__mmask32>(masks_ + 4 * i);
    if constexpr (sizeof(Piece) < 64) return mask_at<__mmask16>(masks_ + 2 * i);
    // Where a word is the masks of four registers, shifting it is faster than four loads.
    word_ = i % kInWord == 0 ? mask_at<__mmask64>(masks_ + i / kInWord * 8)
                             : _kshiftri_mask64(word_, kPieceLanes);
    return word_;
  }

  const std::uint8_t* masks_ = nullptr;  // of the block
  const std::uint8_t* values_;
  __mmask64 word_ = 0;
};

}  // namespace
}  // namespace prunepack::avx512
