// Which of m elements are kept, AVX-512, of as many groups as a register has lanes: register i
// holds element i of every group.
#pragma once

#include <utility>

#include "avx512.h"
#include "batcher.h"

namespace prunepack::avx512 {
namespace {

template <class E>
constexpr bool kHasSpareBit = E::kMaxKey != static_cast<typename E::Bits>(~typename E::Bits{0});

template <std::size_t bytes>
__mmask64 signs(__m512i x) noexcept {
  if constexpr (bytes == 1) return _mm512_movepi8_mask(x);
  if constexpr (bytes == 2) return _mm512_movepi16_mask(x);
  if constexpr (bytes == 4) return _mm512_movepi32_mask(x);
  return _mm512_movepi64_mask(x);
}

// Whether the sign of `compared` says that the earlier of two elements is kept before the later
// one, or the other way round.
template <class E>
__m512i compared(__m512i earlier, __m512i later) noexcept {
  if constexpr (kHasSpareBit<E>) return LanesOf<typename E::Bits>::sub(later, earlier);
  // avg(a, 255 - b) is (a - b + 256) / 2, whose top bit says a >= b.
  return _mm512_avg_epu8(later, _mm512_ternarylogic_epi32(earlier, earlier, earlier, 0x55));
}

// The sign of each lane of the result says that the element is kept, n of 4 being pruned. The signs
// of a, b and c tell whether each of the others beats it, those in `flipped` (4, 2, 1) that it does
// not.
template <std::size_t n, unsigned flipped>
__m512i kept_of_4(__m512i a, __m512i b, __m512i c) noexcept {
  constexpr int table = [] {
    int kept = 0;
    for (unsigned signs = 0; signs < 8; ++signs) {
      const unsigned beaten = signs ^ flipped;
      if ((beaten & 1) + (beaten >> 1 & 1) + (beaten >> 2) + n <= 3) kept |= 1 << signs;
    }
    return kept;
  }();
  return _mm512_ternarylogic_epi32(a, b, c, table);
}

// Elements of which all pairs are compared.
template <class E, std::size_t n, class Put>
[[gnu::always_inline]] inline void for_kept_of_4(const __m512i* keys, const Put& put) noexcept {
  using Bits = typename E::Bits;
  const auto lanes = [](__m512i kept) {
    return static_cast<MaskOf<Bits>>(signs<sizeof(Bits)>(kept));
  };
  const __m512i c01 = compared<E>(keys[0], keys[1]), c02 = compared<E>(keys[0], keys[2]),
                c03 = compared<E>(keys[0], keys[3]), c12 = compared<E>(keys[1], keys[2]),
                c13 = compared<E>(keys[1], keys[3]), c23 = compared<E>(keys[2], keys[3]);
  // With a spare bit the sign means that the earlier one wins: turned round for what comes later.
  constexpr unsigned turned = kHasSpareBit<E> ? 0 : 7;
  put(0, lanes(kept_of_4<n, 7 ^ turned>(c01, c02, c03)));
  put(1, lanes(kept_of_4<n, 3 ^ turned>(c01, c12, c13)));
  put(2, lanes(kept_of_4<n, 1 ^ turned>(c02, c12, c23)));
  put(3, lanes(kept_of_4<n, 0 ^ turned>(c03, c13, c23)));
}

template <class Bits, std::size_t m, std::size_t... i>
[[gnu::always_inline]] inline void sort(__m512i* registers, std::index_sequence<i...>) noexcept {
  static constexpr Network<m> network;
  const auto exchange = [&](std::size_t low, std::size_t high) __attribute__((always_inline)) {
    const __m512i smaller = LanesOf<Bits>::min(registers[low], registers[high]);
    registers[high] = LanesOf<Bits>::max(registers[low], registers[high]);
    registers[low] = smaller;
  };
  (exchange(network.comparators[i].low, network.comparators[i].high), ...);
}

// m = 2, 4, 8, 16, 32 or 64.
template <class E, std::size_t m>
class Upright {
 public:
  // Calls put(i, lanes) for every i < m, in order: the lanes that keep element i. 0 < n < m.
  template <class Put>
  [[gnu::always_inline]] static void for_kept(const __m512i (&keys)[m], std::size_t n,
                                              const Put& put) noexcept {
    if constexpr (m == 2) {
      const auto first = static_cast<MaskOf<Bits>>(signs<sizeof(Bits)>(
          kHasSpareBit<E> ? compared<E>(keys[0], keys[1])
                          : _mm512_xor_si512(compared<E>(keys[0], keys[1]), Width::all(~0ull))));
      put(0, first);
      put(1, static_cast<MaskOf<Bits>>(~first));
    } else if constexpr (m == 4) {
      if (n == 1) return for_kept_of_4<E, 1>(keys, put);
      if (n == 2) return for_kept_of_4<E, 2>(keys, put);
      for_kept_of_4<E, 3>(keys, put);
    } else if constexpr (m == 8 && sizeof(Bits) <= 2) {
      by_pairs(keys, n, put);
    } else {
      by_sorting(keys, n, put);
    }
  }

 private:
  using Bits = typename E::Bits;
  using Width = LanesOf<Bits>;

  // Short keys are tied so often that to rank all elements takes less than to tell tied ones apart.
  template <class Put>
  [[gnu::always_inline]] static void by_pairs(const __m512i (&keys)[m], std::size_t n,
                                              const Put& put) noexcept {
    const __m512i minus_one = Width::all(~std::uint64_t{0}), plus_one = Width::all(1);
    // How many go before an element: all of those in front of it, until one of them beats it.
    __m512i before[m];
#pragma GCC unroll 8
    for (std::size_t i = 0; i < m; ++i) before[i] = Width::all(i);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < m; ++i) {
#pragma GCC unroll 8
      for (std::size_t j = i + 1; j < m; ++j) {
        const auto earlier_wins = Width::above(keys[i], keys[j]);
        before[i] = Width::add(before[i], earlier_wins, plus_one);
        before[j] = Width::add(before[j], earlier_wins, minus_one);
      }
    }
    const __m512i pruned = Width::all(n);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < m; ++i) put(i, Width::at_least(before[i], pruned));
  }

  template <class Put>
  [[gnu::always_inline]] static void by_sorting(const __m512i (&keys)[m], std::size_t n,
                                                const Put& put) noexcept {
    alignas(64) __m512i unsorted[m], sorted[m];
#pragma GCC unroll 64
    for (std::size_t i = 0; i < m; ++i) unsorted[i] = keys[i];
    // Two sorted halves give any rank with few comparisons, and each half fits the registers.
    constexpr auto half_network = std::make_index_sequence<Network<m / 2>::kCount>();
    __m512i half[m / 2];
#pragma GCC unroll 2
    for (std::size_t first = 0; first < m; first += m / 2) {
#pragma GCC unroll 32
      for (std::size_t i = 0; i < m / 2; ++i) half[i] = keys[first + i];
      sort<Bits, m / 2>(half, half_network);
#pragma GCC unroll 32
      for (std::size_t i = 0; i < m / 2; ++i) sorted[first + i] = half[i];
    }

    // Nothing equal to the smallest kept key is pruned, except in groups where the largest pruned
    // one is equal to it: there the first ones go.
    const __m512i smallest_kept = smallest_of(sorted, n + 1);
    constexpr bool kAlwaysTied = sizeof(Bits) == 1;  // nearly, and it does no harm
    if (kAlwaysTied || Width::equal(smallest_of(sorted, n), smallest_kept) != 0) {
      put_with_ties(unsorted, smallest_kept, n, put);
    } else {
#pragma GCC unroll 64
      for (std::size_t i = 0; i < m; ++i) put(i, Width::at_least(unsorted[i], smallest_kept));
    }
  }

  // The `rank`-th smallest key of each group, counted from 1: of all ways to take that many from
  // the bottoms of the two halves, the right one has the smallest maximum.
  static __m512i smallest_of(const __m512i* halves, std::size_t rank) noexcept {
    constexpr std::size_t half = m / 2;
    const auto largest_taken = [&](std::size_t from_first) {
      const std::size_t from_second = rank - from_first;
      if (from_first == 0) return halves[half + from_second - 1];
      if (from_second == 0) return halves[from_first - 1];
      return Width::max(halves[from_first - 1], halves[half + from_second - 1]);
    };
    std::size_t from_first = rank > half ? rank - half : 0;
    const std::size_t most = rank < half ? rank : half;
    __m512i smallest = largest_taken(from_first);
    while (++from_first <= most) smallest = Width::min(smallest, largest_taken(from_first));
    return smallest;
  }

  template <class Put>
  [[gnu::always_inline]] static void put_with_ties(const __m512i (&keys)[m], __m512i smallest_kept,
                                                   std::size_t n, const Put& put) noexcept {
    const __m512i minus_one = Width::all(~std::uint64_t{0});
    // The tied ones that are still to be pruned. It is let go below zero, so that each step waits
    // for nothing but one addition.
    __m512i to_prune = Width::all(n);
#pragma GCC unroll 64
    for (std::size_t i = 0; i < m; ++i) {
      to_prune = Width::add(to_prune, Width::above(smallest_kept, keys[i]), minus_one);
    }
#pragma GCC unroll 64
    for (std::size_t i = 0; i < m; ++i) {
      const auto tied = Width::equal(keys[i], smallest_kept);
      const auto pruned = Width::positive(tied, to_prune);
      to_prune = Width::add(to_prune, tied, minus_one);
      put(i, static_cast<MaskOf<Bits>>(Width::at_least(keys[i], smallest_kept) & ~pruned));
    }
  }
};

}  // namespace
}  // namespace prunepack::avx512
