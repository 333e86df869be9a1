// What the AVX2 kernels share: keys in registers, ordered for signed comparison, and masks of 32
// elements. In an unnamed namespace; key.h says why.
#pragma once

#include <immintrin.h>

#include "key.h"

namespace prunepack::avx2 {
namespace {

// For what a loop calls: constants must stay in registers.
#define PRUNEPACK_INLINE [[gnu::always_inline]] inline
#define PRUNEPACK_INLINE_LAMBDA __attribute__((always_inline))

// Elements a step looks at: a word of mask, and sizeof(element) registers.
constexpr std::size_t kStep = 32;

inline __m256i load(const void* from) noexcept {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}

inline void store(void* to, __m256i lanes) noexcept {
  _mm256_storeu_si256(static_cast<__m256i*>(to), lanes);
}

// Signed lanes of `bytes` bytes.
template <std::size_t bytes>
struct Lanes;

template <>
struct Lanes<1> {
  static __m256i all(std::uint8_t x) noexcept { return _mm256_set1_epi8(static_cast<char>(x)); }
  static __m256i add(__m256i a, __m256i b) noexcept { return _mm256_add_epi8(a, b); }
  static __m256i sub(__m256i a, __m256i b) noexcept { return _mm256_sub_epi8(a, b); }
  static __m256i above(__m256i a, __m256i b) noexcept { return _mm256_cmpgt_epi8(a, b); }
  static __m256i equal(__m256i a, __m256i b) noexcept { return _mm256_cmpeq_epi8(a, b); }
  static __m256i min(__m256i a, __m256i b) noexcept { return _mm256_min_epi8(a, b); }
  static __m256i max(__m256i a, __m256i b) noexcept { return _mm256_max_epi8(a, b); }
  static __m256i unpack_low(__m256i a, __m256i b) noexcept { return _mm256_unpacklo_epi8(a, b); }
  static __m256i unpack_high(__m256i a, __m256i b) noexcept { return _mm256_unpackhi_epi8(a, b); }
};

template <>
struct Lanes<2> {
  static __m256i all(std::uint16_t x) noexcept { return _mm256_set1_epi16(static_cast<short>(x)); }
  static __m256i add(__m256i a, __m256i b) noexcept { return _mm256_add_epi16(a, b); }
  static __m256i sub(__m256i a, __m256i b) noexcept { return _mm256_sub_epi16(a, b); }
  static __m256i above(__m256i a, __m256i b) noexcept { return _mm256_cmpgt_epi16(a, b); }
  static __m256i equal(__m256i a, __m256i b) noexcept { return _mm256_cmpeq_epi16(a, b); }
  static __m256i min(__m256i a, __m256i b) noexcept { return _mm256_min_epi16(a, b); }
  static __m256i max(__m256i a, __m256i b) noexcept { return _mm256_max_epi16(a, b); }
  static __m256i unpack_low(__m256i a, __m256i b) noexcept { return _mm256_unpacklo_epi16(a, b); }
  static __m256i unpack_high(__m256i a, __m256i b) noexcept { return _mm256_unpackhi_epi16(a, b); }
};

template <>
struct Lanes<4> {
  static __m256i all(std::uint32_t x) noexcept { return _mm256_set1_epi32(static_cast<int>(x)); }
  static __m256i add(__m256i a, __m256i b) noexcept { return _mm256_add_epi32(a, b); }
  static __m256i sub(__m256i a, __m256i b) noexcept { return _mm256_sub_epi32(a, b); }
  static __m256i above(__m256i a, __m256i b) noexcept { return _mm256_cmpgt_epi32(a, b); }
  static __m256i equal(__m256i a, __m256i b) noexcept { return _mm256_cmpeq_epi32(a, b); }
  static __m256i min(__m256i a, __m256i b) noexcept { return _mm256_min_epi32(a, b); }
  static __m256i max(__m256i a, __m256i b) noexcept { return _mm256_max_epi32(a, b); }
  static __m256i unpack_low(__m256i a, __m256i b) noexcept { return _mm256_unpacklo_epi32(a, b); }
  static __m256i unpack_high(__m256i a, __m256i b) noexcept { return _mm256_unpackhi_epi32(a, b); }
};

template <>
struct Lanes<8> {
  static __m256i all(std::uint64_t x) noexcept {
    return _mm256_set1_epi64x(static_cast<long long>(x));
  }
  static __m256i add(__m256i a, __m256i b) noexcept { return _mm256_add_epi64(a, b); }
  static __m256i sub(__m256i a, __m256i b) noexcept { return _mm256_sub_epi64(a, b); }
  static __m256i above(__m256i a, __m256i b) noexcept { return _mm256_cmpgt_epi64(a, b); }
  static __m256i equal(__m256i a, __m256i b) noexcept { return _mm256_cmpeq_epi64(a, b); }
  static __m256i min(__m256i a, __m256i b) noexcept {
    return _mm256_blendv_epi8(a, b, above(a, b));
  }
  static __m256i max(__m256i a, __m256i b) noexcept {
    return _mm256_blendv_epi8(b, a, above(a, b));
  }
  static __m256i unpack_low(__m256i a, __m256i b) noexcept { return _mm256_unpacklo_epi64(a, b); }
  static __m256i unpack_high(__m256i a, __m256i b) noexcept { return _mm256_unpackhi_epi64(a, b); }
};

// AVX2 compares signed lanes only, so keys are moved down to where signed order is theirs: not at
// all without the sign bit, by 1 for int8 (0..128 becomes -1..127), by 128 for uint8.
template <class E>
struct Ordered;

template <class BitsType, Kind kind>
struct Ordered<Element<BitsType, kind>> {
  using E = Element<BitsType, kind>;
  using Bits = BitsType;
  using L = Lanes<sizeof(Bits)>;
  static constexpr Bits kOffset = kind == Kind::absolute ? 1 : kind == Kind::identity ? 128 : 0;
  static constexpr Bits kHighest = kind == Kind::absolute ? 128 : E::kMaxKey;  // key there is

  // `key` is at most kHighest.
  static Bits of(std::uint64_t key) noexcept { return static_cast<Bits>(key - kOffset); }

  static __m256i of(__m256i bits) noexcept {
    if constexpr (kind == Kind::clear_sign) return _mm256_and_si256(bits, L::all(E::kMaxKey));
    if constexpr (kind == Kind::absolute) bits = _mm256_abs_epi8(bits);
    return L::sub(bits, L::all(kOffset));
  }

  static __m256i load(const Bits* from) noexcept { return of(avx2::load(from)); }
};

// The signs of 32 lanes, as the bits of a word. `lanes` are 0 or all ones.
inline std::uint32_t signs(const __m256i (&lanes)[1]) noexcept {
  return static_cast<std::uint32_t>(_mm256_movemask_epi8(lanes[0]));
}

inline std::uint32_t signs(const __m256i (&lanes)[2]) noexcept {
  const __m256i bytes = _mm256_packs_epi16(lanes[0], lanes[1]);
  return static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_permute4x64_epi64(bytes, 0xd8)));
}

inline std::uint32_t signs(const __m256i (&lanes)[4]) noexcept {
  const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(lanes[0], lanes[1]),
                                           _mm256_packs_epi32(lanes[2], lanes[3]));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  return static_cast<std::uint32_t>(
      _mm256_movemask_epi8(_mm256_permutevar8x32_epi32(bytes, order)));
}

inline __m256i low_halves(__m256i a, __m256i b) noexcept {
  return _mm256_castps_si256(
      _mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0x88));
}

inline std::uint32_t signs(const __m256i (&lanes)[8]) noexcept {
  const __m256i words[4] = {low_halves(lanes[0], lanes[1]), low_halves(lanes[2], lanes[3]),
                            low_halves(lanes[4], lanes[5]), low_halves(lanes[6], lanes[7])};
  const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(words[0], words[1]),
                                           _mm256_packs_epi32(words[2], words[3]));
  // Each half holds two of every four lanes.
  const __m128i low = _mm256_castsi256_si128(bytes), high = _mm256_extracti128_si256(bytes, 1);
  const int first = _mm_movemask_epi8(_mm_unpacklo_epi16(low, high));
  const int second = _mm_movemask_epi8(_mm_unpackhi_epi16(low, high));
  return static_cast<std::uint32_t>(first) | static_cast<std::uint32_t>(second) << 16;
}

// The first `count` < 32 elements of `from`, and zeros: what a step reads at the end of the input.
template <class Bits>
struct LastStep {
  LastStep(const Bits* from, std::size_t count) noexcept {
    std::memcpy(elements, from, count * sizeof(Bits));
  }
  alignas(32) Bits elements[kStep] = {};
};

// Writes the bits of the last `count` < 32 elements.
inline void put_last_word(std::uint8_t* mask, std::uint32_t word, std::size_t count) noexcept {
  word &= (std::uint32_t{1} << count) - 1;
  std::memcpy(mask, &word, (count + 7) / 8);
}

inline std::size_t popcount(std::uint64_t bits) noexcept {
  return static_cast<std::size_t>(_mm_popcnt_u64(bits));
}

}  // namespace
}  // namespace prunepack::avx2
