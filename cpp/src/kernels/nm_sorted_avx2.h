// n:m masks for m = 8, 16, 32 and 64, AVX2: one group a lane.
//
// A batch of groups is transposed, so that register e holds element e of every group.
#pragma once

#include "fetch_ahead.h"
#include "nm_upright_avx2.h"

namespace prunepack::avx2 {
namespace {

// Rounds of a transposition. In each, unit u of register r goes to where the bits of (r, u), read
// as one number, are rotated left by one.
template <class L, std::size_t count, std::size_t rounds>
PRUNEPACK_INLINE void shuffle_rounds(__m256i* v) noexcept {
  if constexpr (rounds > 0) {
    __m256i to[count];
#pragma GCC unroll 16
    for (std::size_t i = 0; i < count / 2; ++i) {
      to[2 * i] = L::unpack_low(v[i], v[i + count / 2]);
      to[2 * i + 1] = L::unpack_high(v[i], v[i + count / 2]);
    }
    shuffle_rounds<L, count, rounds - 1>(to);
#pragma GCC unroll 16
    for (std::size_t i = 0; i < count; ++i) v[i] = to[i];
  }
}

// Puts `count` flat runs of lanes together, lane by lane: a0 b0 c0 d0 a1 b1 ...
template <std::size_t bytes, std::size_t count>
PRUNEPACK_INLINE void alternate(__m256i* v) noexcept {
  if constexpr (count > 1) {
    __m256i first[count / 2], second[count / 2];
    for (std::size_t i = 0; i < count / 2; ++i) {
      const __m256i low = Lanes<bytes>::unpack_low(v[2 * i], v[2 * i + 1]);
      const __m256i high = Lanes<bytes>::unpack_high(v[2 * i], v[2 * i + 1]);
      first[i] = _mm256_permute2x128_si256(low, high, 0x20);
      second[i] = _mm256_permute2x128_si256(low, high, 0x31);
    }
    alternate<2 * bytes, count / 2>(first);
    alternate<2 * bytes, count / 2>(second);
    for (std::size_t i = 0; i < count / 2; ++i) {
      v[i] = first[i];
      v[count / 2 + i] = second[i];
    }
  }
}

template <class E, std::size_t m>
struct SortedGroups {
  using Bits = typename E::Bits;
  using O = Ordered<E>;
  using L = typename O::L;
  static constexpr std::size_t kBytes = sizeof(Bits);
  static constexpr std::size_t kGroups = 32 / kBytes;  // in a batch
  static constexpr std::size_t kMaskBytes = kGroups * m / 8;

  // Registers transposed together: half of each holds whole groups, or a part of one.
  static constexpr std::size_t kUnits = 16 / kBytes;
  static constexpr std::size_t kRounds = kBytes == 1 ? 4 : kBytes == 2 ? 3 : kBytes == 4 ? 2 : 1;
  static constexpr std::size_t kBlock = m < kUnits ? m : kUnits;
  static constexpr std::size_t kChunk = kUnits < m ? m * kBytes : 16;  // bytes between them

  // Where that was faster.
  static constexpr bool kFetches = m == 8 || (m >= 32 && kBytes <= 2);

  // Mask bits fit the lanes, or are collected in several registers.
  static constexpr std::size_t kLaneBits = 8 * kBytes < m ? 8 * kBytes : m;
  static constexpr std::size_t kWords = m / kLaneBits;

  // keys[e] are the ordered keys of element e of all groups.
  static void transpose(const Bits* weights, __m256i (&keys)[m]) noexcept {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(weights);
    for (std::size_t first = 0; first < m; first += kBlock, bytes += 16) {
      if constexpr (kFetches) fetch_ahead<kBlock * 32>(weights + first * kGroups);
      __m256i block[kBlock];
#pragma GCC unroll 16
      for (std::size_t i = 0; i < kBlock; ++i) {
        const std::uint8_t* at = bytes + i * kChunk;
        block[i] = _mm256_inserti128_si256(
            _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at))),
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(at + kBlock * kChunk)), 1);
      }
      shuffle_rounds<L, kBlock, kRounds>(block);
#pragma GCC unroll 16
      for (std::size_t i = 0; i < kBlock; ++i) keys[first + i] = O::of(block[i]);
    }
  }

  static void put(__m256i (&words)[kWords], std::uint8_t* mask) noexcept {
    if constexpr (kLaneBits < 8 * kBytes) {  // a few wide lanes, of which the low bytes count
      alignas(32) Bits lanes[kGroups];
      for (std::size_t w = 0; w < kWords; ++w) store(lanes, words[w]);
      for (std::size_t g = 0; g < kGroups; ++g) std::memcpy(mask + g * (m / 8), &lanes[g], m / 8);
    } else {
      alternate<kBytes, kWords>(words);
      for (std::size_t w = 0; w < kWords; ++w) store(mask + 32 * w, words[w]);
    }
  }

  // The mask of a batch. 0 < n < m.
  static void batch(const Bits* weights, std::size_t n, std::uint8_t* mask) noexcept {
    __m256i keys[m], words[kWords];
    transpose(weights, keys);
    for (std::size_t w = 0; w < kWords; ++w) words[w] = _mm256_setzero_si256();
    // Bit e % kLaneBits of word e / kLaneBits of every lane: whether its element e is kept.
    Upright<E, m>::for_kept(keys, n, [&](std::size_t e, __m256i kept) PRUNEPACK_INLINE_LAMBDA {
      __m256i& bits = words[e / kLaneBits];
      bits = L::sub(L::add(bits, bits), kept);
    });
    put(words, mask);
  }

  static void mask_of(const Bits* weights, std::size_t groups, std::size_t n,
                      std::uint8_t* mask) noexcept {
    for (; groups >= kGroups; groups -= kGroups, weights += kGroups * m, mask += kMaskBytes) {
      batch(weights, n, mask);
    }
    if (groups > 0) {
      Bits last[kGroups * m] = {};
      std::uint8_t last_mask[kMaskBytes];
      std::memcpy(last, weights, groups * m * kBytes);
      batch(last, n, last_mask);
      std::memcpy(mask, last_mask, groups * (m / 8));
    }
  }
};

}  // namespace
}  // namespace prunepack::avx2
