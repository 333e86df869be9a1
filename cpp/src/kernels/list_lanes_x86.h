// Registers of two, four and eight float32 for list_products.h, with FMA.
// In an unnamed namespace; key.h says why.
#pragma once

#include <immintrin.h>

#include <cstddef>

namespace prunepack {
namespace {

struct FourLanes {
  using Register = __m128;
  static constexpr std::size_t kCount = 4;
  static __m128 of(float x) noexcept { return _mm_set1_ps(x); }
  static __m128 load(const float* from) noexcept { return _mm_loadu_ps(from); }
  static void store(float* to, __m128 lanes) noexcept { _mm_storeu_ps(to, lanes); }
  static __m128 add(__m128 a, __m128 b) noexcept { return _mm_add_ps(a, b); }
  static __m128 multiply_add(__m128 a, __m128 b, __m128 c) noexcept {
    return _mm_fmadd_ps(a, b, c);
  }
};

// The lower half of a register.
struct TwoLanes : FourLanes {
  static constexpr std::size_t kCount = 2;
  static __m128 load(const float* from) noexcept {
    return _mm_castsi128_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
  }
  static void store(float* to, __m128 lanes) noexcept {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_castps_si128(lanes));
  }
};

struct EightLanes {
  using Register = __m256;
  static constexpr std::size_t kCount = 8;
  static __m256 of(float x) noexcept { return _mm256_set1_ps(x); }
  static __m256 load(const float* from) noexcept { return _mm256_loadu_ps(from); }
  static void store(float* to, __m256 lanes) noexcept { _mm256_storeu_ps(to, lanes); }
  static __m256 add(__m256 a, __m256 b) noexcept { return _mm256_add_ps(a, b); }
  static __m256 multiply_add(__m256 a, __m256 b, __m256 c) noexcept {
    return _mm256_fmadd_ps(a, b, c);
  }
};

}  // namespace
}  // namespace prunepack
