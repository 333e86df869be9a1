// Where in their groups of columns the elements of n:m panels stand.
// In an unnamed namespace; key.h says why.
#pragma once

#include "panels_avx512.h"

namespace prunepack::avx512 {
namespace {

// The positions of a register, each part's in the low bits of its piece of the cell.
template <std::size_t parts, std::size_t bits>
__m512i positions_at(const std::uint8_t* positions) noexcept {
  constexpr std::size_t bytes = position_bytes(parts, bits);
  __m512i all;
  if constexpr (bytes == 4) {
    all = _mm512_set1_epi32(number_at<std::int32_t>(positions));
  } else if constexpr (bytes == 8) {
    all = _mm512_set1_epi64(number_at<std::int64_t>(positions));
  } else if constexpr (bytes == 16) {
    all = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(positions)));
  } else {
    all = _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(positions)));
  }
  const auto shift = [](std::size_t lane) {
    const PositionPlace place = position_place(parts, bits, lane, 0);
    return static_cast<int>(8 * (place.byte % (4 / parts)) + place.shift);
  };
  return _mm512_srlv_epi32(
      all, _mm512_setr_epi32(shift(0), shift(1), shift(2), shift(3), shift(4), shift(5), shift(6),
                             shift(7), shift(8), shift(9), shift(10), shift(11), shift(12),
                             shift(13), shift(14), shift(15)));
}

}  // namespace
}  // namespace prunepack::avx512
