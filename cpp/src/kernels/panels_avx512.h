// What the AVX-512 panel kernels share: the parts of registers, and sums for a batch.
// In an unnamed namespace; key.h says why.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "avx512.h"
#include "fetch_ahead.h"
#include "panel_walks.h"

// Sums stay in registers only where every step is part of the loop.
#define PRUNEPACK_INLINE [[gnu::always_inline]] inline

namespace prunepack::avx512 {
namespace {

// Weights of each dtype. Cells are a register of panels.h, in one or more pieces, and
// part<p>(cells) is part p of all lanes, as float32. Sums of these numbers are to be multiplied by
// kScale.
struct InOnePiece {
  using Cells = __m512i;
  using Piece = Cells;
  static Cells load(const std::uint8_t* from) noexcept { return _mm512_loadu_si512(from); }
};

struct Float32Weights : InOnePiece {
  using Bits = std::uint32_t;
  static constexpr std::size_t kParts = 1;
  static constexpr float kScale = 1;
  template <std::size_t p>
  static __m512 part(__m512i cells) noexcept {
    return _mm512_castsi512_ps(cells);
  }
};

// In halves: to take a register apart is a shuffle, and widening has more of these than any other.
struct Float16Weights {
  using Bits = std::uint16_t;
  static constexpr std::size_t kParts = 2;
  static constexpr float kScale = 1;
  using Piece = __m256i;
  struct Cells {
    Piece half[kParts];
  };
  static Cells load(const std::uint8_t* from) noexcept {
    const auto* halves = reinterpret_cast<const __m256i*>(from);
    return {{_mm256_loadu_si256(halves), _mm256_loadu_si256(halves + 1)}};
  }
  template <std::size_t p>
  static __m512 part(const Cells& cells) noexcept {
    return _mm512_cvtph_ps(cells.half[p]);
  }
};

struct Bfloat16Weights : InOnePiece {
  using Bits = std::uint16_t;
  static constexpr std::size_t kParts = 2;
  static constexpr float kScale = 1;
  template <std::size_t p>
  static __m512 part(__m512i cells) noexcept {
    return _mm512_castsi512_ps(p == 0 ? _mm512_slli_epi32(cells, 16)
                                      : _mm512_and_si512(cells, _mm512_set1_epi32(-0x10000)));
  }
};

// An integer is moved to the top of its lane, which makes it 2^24 times as large: extending the
// sign instead would take another instruction.
struct Int8Weights : InOnePiece {
  using Bits = std::uint8_t;
  static constexpr std::size_t kParts = 4;
  static constexpr float kScale = 0x1p-24f;
  template <std::size_t p>
  static __m512 part(__m512i cells) noexcept {
    return _mm512_cvtepi32_ps(at_top<p>(cells));
  }

 private:
  // By the instruction that has most room beside the others: shifts and shuffles share ports.
  template <std::size_t p>
  static __m512i at_top(__m512i cells) noexcept {
    if constexpr (p == 0) return _mm512_slli_epi32(cells, 24);
    if constexpr (p == 3) return _mm512_and_si512(cells, _mm512_set1_epi32(-(1 << 24)));
    constexpr auto pick = [](int lane) { return (4 * lane + int{p}) << 24 | 0x808080; };
    return _mm512_shuffle_epi8(cells, _mm512_set4_epi32(pick(3), pick(2), pick(1), pick(0)));
  }
};

// Sums for `batch` rows of activations. A multiply-add takes four cycles, so that a small batch has
// several sums for each row, taken in turn: twice as many as that needs, because what is computed
// between multiply-adds delays them, and they could not make up for it.
template <std::size_t batch>
struct Sums {
  static constexpr std::size_t kChains = batch >= 8 ? 1 : batch == 4 ? 2 : 4;
  __m512 of[kChains][batch];

  void clear() noexcept {
#pragma GCC unroll 4
    for (std::size_t chain = 0; chain < kChains; ++chain) {
#pragma GCC unroll 16
      for (std::size_t b = 0; b < batch; ++b) of[chain][b] = _mm512_setzero_ps();
    }
  }

  __m512 row(std::size_t b) const noexcept {
    if constexpr (kChains == 4) {
      return _mm512_add_ps(_mm512_add_ps(of[0][b], of[1][b]), _mm512_add_ps(of[2][b], of[3][b]));
    } else if constexpr (kChains == 2) {
      return _mm512_add_ps(of[0][b], of[1][b]);
    } else {
      return of[0][b];
    }
  }

  void store(void* sums, float scale) const noexcept {
#pragma GCC unroll 16
    for (std::size_t b = 0; b < batch; ++b) {
      _mm512_storeu_ps(static_cast<float*>(sums) + b * kPanelRows,
                       _mm512_mul_ps(row(b), _mm512_set1_ps(scale)));
    }
  }
};

// A mask from memory: moving it from a general register is slow, and what GCC 12 would do.
template <class Mask>
Mask mask_at(const std::uint8_t* mask) noexcept {
  struct [[gnu::packed, gnu::may_alias]] Unaligned {
    Mask bits;
  };
  const auto& from = *reinterpret_cast<const Unaligned*>(mask);
  Mask k;
  if constexpr (sizeof(Mask) == 2) asm("kmovw %1, %0" : "=k"(k) : "m"(from));
  if constexpr (sizeof(Mask) == 4) asm("kmovd %1, %0" : "=k"(k) : "m"(from));
  if constexpr (sizeof(Mask) == 8) asm("kmovq %1, %0" : "=k"(k) : "m"(from));
  return k;
}

// For a step that reads so many lines of 64 bytes of a panel.
template <std::size_t lines>
void fetch_lines_ahead(const void* panel) noexcept {
  fetch_ahead<64 * lines, 2048>(panel);
}

}  // namespace
}  // namespace prunepack::avx512

// The products of a layout with float32 activations, and none of the others.
#define PRUNEPACK_FLOAT_PRODUCTS(function)                                           \
  {                                                                                  \
    {                                                                                \
      function<Float32Weights>, function<Float16Weights>, function<Bfloat16Weights>, \
          function<Int8Weights>, nullptr, nullptr                                    \
    }                                                                                \
  }
