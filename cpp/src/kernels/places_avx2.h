// Puts the elements that a byte of mask keeps into their places, AVX2. In an unnamed namespace;
// key.h says why.
#pragma once

#include "panels_avx2.h"

namespace prunepack::avx2 {
namespace {

constexpr std::uint8_t kNone = 0x80;  // for shuffles: a zero

// For each byte of mask, which of the next values' bytes go into each of eight places, of `width`
// bytes each: the value's `unit` bytes, after zeros.
template <std::size_t unit, std::size_t width = unit>
struct Places {
  alignas(64) std::uint8_t of[256][8 * width];

  constexpr Places() : of() {
    for (std::size_t mask = 0; mask < 256; ++mask) {
      std::size_t next = 0;
      for (std::size_t i = 0; i < 8 * width; ++i) {
        const bool kept = (mask >> i / width & 1) != 0 && i % width >= width - unit;
        of[mask][i] = kept ? static_cast<std::uint8_t>(next++) : kNone;
      }
    }
  }
};

constexpr Places<1> kPlaces;
constexpr Places<2> kPlacesOf2;
constexpr Places<1, 4> kTopsOf1;
constexpr Places<2, 4> kTopsOf2;

inline __m128i load_8(const void* from) noexcept {
  return _mm_loadl_epi64(static_cast<const __m128i*>(from));
}

inline __m128i load_16(const void* from) noexcept {
  return _mm_loadu_si128(static_cast<const __m128i*>(from));
}

// The next of eight floats in the places of an entry of kPlaces, and zeros.
PRUNEPACK_INLINE __m256 placed(const std::uint8_t* entry, __m256 values) noexcept {
  const __m256i places = _mm256_cvtepi8_epi32(load_8(entry));
  __m256 zero = _mm256_setzero_ps();
  asm("" : "+x"(zero));  // or GCC compares with it instead of blending
  return _mm256_blendv_ps(_mm256_permutevar8x32_ps(values, places), zero,
                          _mm256_castsi256_ps(places));
}

}  // namespace
}  // namespace prunepack::avx2
