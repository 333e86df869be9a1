// Dot products of the parts of cells: two bfloat16, or four int8, at once.
// In an unnamed namespace; key.h says why.
#pragma once

#include "panels_avx512.h"

namespace prunepack::avx512 {
namespace {

struct Bfloat16Dots : Bfloat16Weights {
  using Activation = std::uint16_t;
  using Sum = __m512;
  static Sum zero() noexcept { return _mm512_setzero_ps(); }
  static Sum plus(Sum a, Sum b) noexcept { return _mm512_add_ps(a, b); }
  static Sum add(Sum sum, __m512i weights, __m512i x) noexcept {
    return _mm512_dpbf16_ps(sum, (__m512bh)weights, (__m512bh)x);
  }
  static void store(void* out, Sum sum) noexcept { _mm512_storeu_ps(out, sum); }
};

struct Int8Dots : Int8Weights {
  using Activation = std::uint8_t;
  using Sum = __m512i;
  static Sum zero() noexcept { return _mm512_setzero_si512(); }
  static Sum plus(Sum a, Sum b) noexcept { return _mm512_add_epi32(a, b); }
  static Sum add(Sum sum, __m512i weights, __m512i x) noexcept {
    return _mm512_dpbusd_epi32(sum, x, weights);
  }
  static void store(void* out, Sum sum) noexcept { _mm512_storeu_si512(out, sum); }
};

// As Sums, for dot products.
template <class Dots, std::size_t batch>
struct DotSums {
  static constexpr std::size_t kChains = Sums<batch>::kChains;
  typename Dots::Sum of[kChains][batch];

  void clear() noexcept {
#pragma GCC unroll 4
    for (std::size_t chain = 0; chain < kChains; ++chain) {
#pragma GCC unroll 16
      for (std::size_t b = 0; b < batch; ++b) of[chain][b] = Dots::zero();
    }
  }

  void store(void* sums) const noexcept {
#pragma GCC unroll 16
    for (std::size_t b = 0; b < batch; ++b) {
      typename Dots::Sum sum = of[0][b];
#pragma GCC unroll 4
      for (std::size_t chain = 1; chain < kChains; ++chain) sum = Dots::plus(sum, of[chain][b]);
      Dots::store(static_cast<std::uint32_t*>(sums) + b * kPanelRows, sum);
    }
  }
};

}  // namespace
}  // namespace prunepack::avx512

// The products of a layout with activations of the weights' own dtype, and none of the others.
#define PRUNEPACK_DOT_PRODUCTS(function)                                             \
  {                                                                                  \
    {                                                                                \
      nullptr, nullptr, nullptr, nullptr, function<Bfloat16Dots>, function<Int8Dots> \
    }                                                                                \
  }
