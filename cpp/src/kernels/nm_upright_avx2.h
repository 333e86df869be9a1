// Which of m elements are kept, AVX2, of as many groups as a register has lanes: register e holds
// element e of every group.
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

// m = 2, 4, 8, 16, 32 or 64.
template <class E, std::size_t m>
class Upright {
 public:
  // Calls put(e, lanes) for every e < m, the last first: all ones in the lanes that keep element e.
  // Keys are ordered. 0 < n < m.
  template <class Put>
  PRUNEPACK_INLINE static void for_kept(const __m256i (&keys)[m], std::size_t n,
                                        const Put& put) noexcept {
    if constexpr (m == 2) {
      const __m256i first = L::above(keys[0], keys[1]);
      put(1, _mm256_xor_si256(first, L::all(static_cast<Bits>(~Bits{0}))));
      put(0, first);
    } else if constexpr (m == 4 || (m == 8 && sizeof(Bits) == 1)) {
      // Short keys are tied so often that to rank all elements takes less than to tell them apart.
      by_pairs(keys, n, put);
    } else {
      const Bounds bound = bounds(keys, n);
      const __m256i tied = L::equal(bound.pruned, bound.kept);
      if (_mm256_testz_si256(tied, tied)) {
#pragma GCC unroll 64
        for (std::size_t i = 1; i <= m; ++i) put(m - i, L::above(keys[m - i], bound.pruned));
      } else {
        put_with_ties(keys, bound.kept, m - n, put);
      }
    }
  }

 private:
  using Bits = typename E::Bits;
  using L = typename Ordered<E>::L;

  // An element is kept if it beats n others. It beats a later one that is smaller, and an earlier
  // one that does not beat it: one more than minus the mask, and masks are -1.
  template <class Put>
  PRUNEPACK_INLINE static void by_pairs(const __m256i (&keys)[m], std::size_t n,
                                        const Put& put) noexcept {
    __m256i wins[m] = {};  // minus those over later ones, plus the defeats by earlier ones
#pragma GCC unroll 8
    for (std::size_t i = 0; i < m; ++i) {
#pragma GCC unroll 8
      for (std::size_t j = i + 1; j < m; ++j) {
        const __m256i earlier_wins = L::above(keys[i], keys[j]);
        wins[i] = L::add(wins[i], earlier_wins);
        wins[j] = L::sub(wins[j], earlier_wins);
      }
    }
#pragma GCC unroll 8
    for (std::size_t i = 1; i <= m; ++i) {
      const std::size_t e = m - i;
      put(e, L::above(L::all(static_cast<Bits>(1 + e - n)), wins[e]));
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

  // Where the bounds are equal: the last of the tied are kept.
  template <class Put>
  PRUNEPACK_INLINE static void put_with_ties(const __m256i (&keys)[m], __m256i bound,
                                             std::size_t kept, const Put& put) noexcept {
    __m256i wanted = L::all(static_cast<Bits>(kept));
#pragma GCC unroll 64
    for (std::size_t e = 0; e < m; ++e) wanted = L::add(wanted, L::above(keys[e], bound));
#pragma GCC unroll 64
    for (std::size_t i = 1; i <= m; ++i) {
      const std::size_t e = m - i;
      const __m256i tied = L::equal(keys[e], bound);
      const __m256i wanted_tie = _mm256_and_si256(tied, L::above(wanted, _mm256_setzero_si256()));
      wanted = L::add(wanted, tied);
      put(e, _mm256_or_si256(L::above(keys[e], bound), wanted_tie));
    }
  }
};

}  // namespace
}  // namespace prunepack::avx2
