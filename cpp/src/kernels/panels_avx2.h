// What the AVX2 panel kernels share: weights of each dtype in registers, and sums for a batch. In
// an unnamed namespace; key.h says why.
#pragma once

#include "avx2.h"
#include "fetch_ahead.h"
#include "panel_walks.h"

namespace prunepack::avx2 {
namespace {

// Half of a register's lanes: 0 to 7, or 8 to 15.
inline constexpr std::size_t kHalves = 2, kHalfLanes = 8;

// Weights of a dtype. Cells are a register of panels.h, and part<p, h>() is part p of half h of
// its lanes, as float32. Sums of these numbers are to be multiplied by kScale.
struct Float32Weights {
  using Bits = std::uint32_t;
  static constexpr std::size_t kParts = 1;
  static constexpr float kScale = 1;
  struct Cells {
    __m256i of[kHalves];
  };
  static Cells load(const std::uint8_t* from) noexcept {
    return {{avx2::load(from), avx2::load(from + 32)}};
  }
  template <std::size_t p, std::size_t h>
  static __m256 part(const Cells& cells) noexcept {
    return _mm256_castsi256_ps(cells.of[h]);
  }
};

struct Bfloat16Weights {
  using Bits = std::uint16_t;
  static constexpr std::size_t kParts = 2;
  static constexpr float kScale = 1;
  using Cells = Float32Weights::Cells;
  static Cells load(const std::uint8_t* from) noexcept { return Float32Weights::load(from); }
  template <std::size_t p, std::size_t h>
  static __m256 part(const Cells& cells) noexcept {
    if constexpr (p == 0) return _mm256_castsi256_ps(_mm256_slli_epi32(cells.of[h], 16));
    return _mm256_castsi256_ps(_mm256_and_si256(cells.of[h], _mm256_set1_epi32(-65536)));
  }
};

struct Float16Weights {
  using Bits = std::uint16_t;
  static constexpr std::size_t kParts = 2;
  static constexpr float kScale = 1;
  struct Cells {
    __m128i of[kParts * kHalves];
  };
  static Cells load(const std::uint8_t* from) noexcept {
    const auto* quarters = reinterpret_cast<const __m128i*>(from);
    return {{_mm_loadu_si128(quarters), _mm_loadu_si128(quarters + 1),
             _mm_loadu_si128(quarters + 2), _mm_loadu_si128(quarters + 3)}};
  }
  template <std::size_t p, std::size_t h>
  static __m256 part(const Cells& cells) noexcept {
    return _mm256_cvtph_ps(cells.of[p * kHalves + h]);
  }
};

// An integer is moved to the top of its lane, which makes it 2^24 times as large: extending the
// sign instead would take another instruction.
struct Int8Weights {
  using Bits = std::uint8_t;
  static constexpr std::size_t kParts = 4;
  static constexpr float kScale = 0x1p-24f;
  using Cells = Float32Weights::Cells;
  static Cells load(const std::uint8_t* from) noexcept { return Float32Weights::load(from); }
  template <std::size_t p, std::size_t h>
  static __m256 part(const Cells& cells) noexcept {
    return _mm256_cvtepi32_ps(at_top<p>(cells.of[h]));
  }

 private:
  template <std::size_t p>
  static __m256i at_top(__m256i cells) noexcept {
    if constexpr (p == 0) return _mm256_slli_epi32(cells, 24);
    if constexpr (p == 3) return _mm256_and_si256(cells, _mm256_set1_epi32(-(1 << 24)));
    constexpr auto pick = [](int lane) { return (4 * lane + int{p}) << 24 | 0x808080; };
    return _mm256_shuffle_epi8(cells, _mm256_setr_epi32(pick(0), pick(1), pick(2), pick(3), pick(0),
                                                        pick(1), pick(2), pick(3)));
  }
};

// Calls body.template operator()<i>() for i = first ... last - 1.
template <std::size_t last, std::size_t first = 0, class Body>
PRUNEPACK_INLINE void repeat(const Body& body) noexcept {
  if constexpr (first < last) {
    body.template operator()<first>();
    repeat<last, first + 1>(body);
  }
}

// The sums of some rows of activations. Two multiply-adds begin in a cycle and take four, so few
// rows have several sums each, taken in turn.
template <std::size_t rows>
struct Sums {
  static constexpr std::size_t kChains = kMostRows / rows;
  __m256 of[kChains][rows][kHalves];

  PRUNEPACK_INLINE Sums() noexcept {
    repeat<kChains * rows>([&]<std::size_t i>() __attribute__((always_inline)) {
      of[i / rows][i % rows][0] = of[i / rows][i % rows][1] = _mm256_setzero_ps();
    });
  }

  template <std::size_t h>
  PRUNEPACK_INLINE void add(std::size_t chain, std::size_t row, __m256 weights, __m256 x) noexcept {
    __m256& sum = of[chain % kChains][row][h];
    sum = _mm256_fmadd_ps(weights, x, sum);
  }

  PRUNEPACK_INLINE __m256 total(std::size_t row, std::size_t h) const noexcept {
    if constexpr (kChains == 1) return of[0][row][h];
    if constexpr (kChains == 2) return _mm256_add_ps(of[0][row][h], of[1][row][h]);
    if constexpr (kChains == 4) {
      return _mm256_add_ps(_mm256_add_ps(of[0][row][h], of[1][row][h]),
                           _mm256_add_ps(of[2][row][h], of[3][row][h]));
    }
  }

  PRUNEPACK_INLINE void store(float* sums, float scale) const noexcept {
    repeat<rows * kHalves>([&]<std::size_t i>() __attribute__((always_inline)) {
      _mm256_storeu_ps(sums + i * kHalfLanes,
                       _mm256_mul_ps(total(i / kHalves, i % kHalves), _mm256_set1_ps(scale)));
    });
  }
};

}  // namespace
}  // namespace prunepack::avx2

// function<Weights> for the products that have kernels: bfloat16 activations bring nothing here.
#define PRUNEPACK_PER_WEIGHTS(function, int8_int8)                                   \
  {                                                                                  \
    {                                                                                \
      function<Float32Weights>, function<Float16Weights>, function<Bfloat16Weights>, \
          function<Int8Weights>, nullptr, int8_int8                                  \
    }                                                                                \
  }
