// n:m masks for m = 8, 16, 32 and 64, AVX2: one group a lane.
//
// A batch of groups is transposed, so that register e holds element e of every group; a sorting
// network then finds, in all lanes at once, the largest key to prune and the smallest to keep.
#pragma once

#include "avx2.h"

namespace prunepack::avx2 {
namespace {

// Batcher's odd-even merge sort (Knuth, The Art of Computer Programming, volume 3, 5.3.4) of the
// `count` registers from `first` on, a power of two. Unrolled by recursion: the registers of an
// unrolled loop stay registers with every compiler.
template <class L, std::size_t i, std::size_t j, std::size_t end, std::size_t step>
PRUNEPACK_INLINE void order_pairs(__m256i* v) noexcept {
  if constexpr (j < end) {
    const __m256i larger = L::max(v[i], v[j]);
    v[i] = L::min(v[i], v[j]);
    v[j] = larger;
    order_pairs<L, i + step, j + step, end, step>(v);
  }
}

template <class L, std::size_t first, std::size_t count, std::size_t step>
PRUNEPACK_INLINE void merge(__m256i* v) noexcept {
  if constexpr (2 * step < count) {
    merge<L, first, count, 2 * step>(v);
    merge<L, first + step, count, 2 * step>(v);
    order_pairs<L, first + step, first + 2 * step, first + count, 2 * step>(v);
  } else {
    order_pairs<L, first, first + step, first + count, 2 * step>(v);
  }
}

template <class L, std::size_t first, std::size_t count>
PRUNEPACK_INLINE void sort(__m256i* v) noexcept {
  if constexpr (count > 1) {
    sort<L, first, count / 2>(v);
    sort<L, first + count / 2, count / 2>(v);
    merge<L, first, count, 1>(v);
  }
}

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

  // Mask bits fit the lanes, or are collected in several registers.
  static constexpr std::size_t kLaneBits = 8 * kBytes < m ? 8 * kBytes : m;
  static constexpr std::size_t kWords = m / kLaneBits;

  // keys[e] are the ordered keys of element e of all groups.
  static void transpose(const Bits* weights, __m256i (&keys)[m]) noexcept {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(weights);
    for (std::size_t first = 0; first < m; first += kBlock, bytes += 16) {
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

  // The key of rank n - 1 in every group, the largest to prune, and that of rank n, the smallest
  // to keep.
  struct Bounds {
    __m256i pruned, kept;
  };

  // Of two sorted halves, the key of rank r is the smallest of max(a[i - 1], b[j - 1]) over
  // i + j = r + 1, where index -1 stands for less than everything.
  static __m256i of_rank(const __m256i* a, const __m256i* b, std::size_t r) noexcept {
    constexpr std::size_t half = m / 2;
    std::size_t i = r + 1 > half ? r + 1 - half : 0;
    __m256i key = i == 0 ? b[r] : r + 1 == i ? a[i - 1] : L::max(a[i - 1], b[r - i]);
    for (++i; i <= r && i <= half; ++i) key = L::min(key, L::max(a[i - 1], b[r - i]));
    if (r < half) key = L::min(key, a[r]);
    return key;
  }

  template <std::size_t count>
  PRUNEPACK_INLINE static void sort_run(const __m256i* keys, __m256i* sorted) noexcept {
    __m256i run[count];
#pragma GCC unroll 32
    for (std::size_t i = 0; i < count; ++i) run[i] = keys[i];
    sort<L, 0, count>(run);
#pragma GCC unroll 32
    for (std::size_t i = 0; i < count; ++i) sorted[i] = run[i];
  }

  static Bounds bounds(const __m256i (&keys)[m], std::size_t n) noexcept {
    __m256i sorted[m];
    constexpr std::size_t kRun = m == 8 ? 8 : m / 2;
    for (std::size_t first = 0; first < m; first += kRun)
      sort_run<kRun>(&keys[first], &sorted[first]);
    if constexpr (kRun == m) return {sorted[n - 1], sorted[n]};
    return {of_rank(sorted, sorted + kRun, n - 1), of_rank(sorted, sorted + kRun, n)};
  }

  // Bit e % kLaneBits of word e / kLaneBits of every lane: whether its element e is kept.
  static void above_bits(const __m256i (&keys)[m], __m256i bound,
                         __m256i (&words)[kWords]) noexcept {
    for (std::size_t w = 0; w < kWords; ++w) {
      __m256i bits = _mm256_setzero_si256();
#pragma GCC unroll 16
      for (std::size_t i = 1; i <= kLaneBits; ++i) {
        const std::size_t e = (w + 1) * kLaneBits - i;
        bits = L::sub(L::add(bits, bits), L::above(keys[e], bound));
      }
      words[w] = bits;
    }
  }

  // The same where the bounds are equal: the last of the tied are kept.
  static void tied_bits(const __m256i (&keys)[m], __m256i bound, std::size_t kept,
                        __m256i (&words)[kWords]) noexcept {
    __m256i wanted = L::all(static_cast<Bits>(kept));
#pragma GCC unroll 16
    for (std::size_t e = 0; e < m; ++e) wanted = L::add(wanted, L::above(keys[e], bound));
    for (std::size_t w = kWords; w-- > 0;) {
      __m256i bits = _mm256_setzero_si256();
#pragma GCC unroll 16
      for (std::size_t i = 1; i <= kLaneBits; ++i) {
        const std::size_t e = (w + 1) * kLaneBits - i;
        const __m256i tied = L::equal(keys[e], bound);
        const __m256i wanted_tie = _mm256_and_si256(tied, L::above(wanted, _mm256_setzero_si256()));
        wanted = L::add(wanted, tied);
        bits = L::sub(L::add(bits, bits), _mm256_or_si256(L::above(keys[e], bound), wanted_tie));
      }
      words[w] = bits;
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
    const Bounds bound = bounds(keys, n);
    const __m256i tied = L::equal(bound.pruned, bound.kept);
    if (_mm256_testz_si256(tied, tied)) {
      above_bits(keys, bound.pruned, words);
    } else {
      tied_bits(keys, bound.kept, m - n, words);
    }
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
