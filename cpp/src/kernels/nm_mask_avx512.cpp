// nm_mask, AVX-512. Groups of 2 and 4 are ranked where they lie; groups of 8, 16 and 32 are
// transposed, so that a register holds one element of many groups, and sorted; the thresholds of
// larger ones are found bit by bit, and those of others are searched.
#include <utility>

#include "avx512.h"
#include "batcher.h"
#include "nm_radix_avx512.h"
#include "tables.h"

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

// Groups of m = 2 or 4, ranked where they lie: each element meets the others of its group by
// rotating the group.
template <class E, std::size_t m>
class Rotations {
 public:
  using Bits = typename E::Bits;

  Rotations() noexcept {
    for (std::size_t turn = 1; turn < m; ++turn) {
      alignas(64) std::uint8_t from[64];
      alignas(64) Bits later[kLanes<Bits>];
      for (std::size_t b = 0; b < 64; ++b) {
        const std::size_t lane = b / sizeof(Bits), other = lane / m * m + (lane + turn) % m;
        from[b] = static_cast<std::uint8_t>(other * sizeof(Bits) + b % sizeof(Bits));
        later[lane] = static_cast<Bits>(kHasSpareBit<E> ? other > lane : (other > lane ? ~0 : 0));
      }
      from_[turn] = _mm512_load_si512(from);
      later_[turn] = _mm512_load_si512(later);
    }
  }

  // The sign of each lane tells whether the element is beaten by the one `turn` places on in its
  // group: one that is larger, or equal and later.
  template <std::size_t turn>
  __m512i beaten(__m512i key) const noexcept {
    const __m512i other = rotated<turn>(key);
    if constexpr (kHasSpareBit<E>) {
      // Keys have a zero sign bit, so key - later - other cannot wrap: it is negative exactly
      // when other > key - later, which for a later one is other >= key.
      const __m512i least = LanesOf<Bits>::sub(key, later_[turn]);
      return LanesOf<Bits>::sub(least, other);
    } else {
      // avg(a, 255 - b) is (a - b + 256) / 2, whose top bit says a >= b. A later one beats when
      // other >= key, an earlier one when not key >= other.
      const __m512i a = _mm512_ternarylogic_epi32(later_[turn], other, key, 0xca);
      const __m512i not_b = _mm512_ternarylogic_epi32(later_[turn], key, other, 0x35);
      const __m512i at_least = _mm512_avg_epu8(a, not_b);
      return _mm512_ternarylogic_epi32(at_least, later_[turn], later_[turn], 0xc3);
    }
  }

 private:
  template <std::size_t turn>
  __m512i rotated(__m512i key) const noexcept {
    if constexpr (m * sizeof(Bits) > 16) {
      constexpr int order =
          (turn % 4) | (turn + 1) % 4 << 2 | (turn + 2) % 4 << 4 | (turn + 3) % 4 << 6;
      return _mm512_permutex_epi64(key, order);
    } else {
      return _mm512_shuffle_epi8(key, from_[turn]);
    }
  }

  __m512i from_[m], later_[m];
};

// The sign of each lane of the result says that the element is kept, n of 4 being pruned.
template <std::size_t n>
__m512i kept_of_4(__m512i a, __m512i b, __m512i c) noexcept {
  if constexpr (n == 1) return _mm512_ternarylogic_epi32(a, b, c, 0x7f);  // not beaten by all three
  if constexpr (n == 2) return _mm512_ternarylogic_epi32(a, b, c, 0x17);  // nor by two
  return _mm512_ternarylogic_epi32(a, b, c, 0x01);                        // nor by one
}

template <class E, std::size_t n, std::size_t m>
void rank_in_place(const void* weights, std::size_t groups, std::uint8_t* mask) noexcept {
  using Bits = typename E::Bits;
  const auto* in = static_cast<const Bits*>(weights);
  const Rotations<E, m> rotations;
  const auto kept = [&](__m512i bits) {
    const __m512i key = key_of<E>(bits);
    if constexpr (m == 2) {
      const __m512i beaten = rotations.template beaten<1>(key);
      return static_cast<MaskOf<Bits>>(~signs<sizeof(Bits)>(beaten));
    } else {
      return static_cast<MaskOf<Bits>>(signs<sizeof(Bits)>(
          kept_of_4<n>(rotations.template beaten<1>(key), rotations.template beaten<2>(key),
                       rotations.template beaten<3>(key))));
    }
  };
  const std::size_t count = groups * m;
  std::size_t i = 0;
  for (; i + 64 <= count; i += 64) store_word(mask + i / 8, where(Run64<Bits>::load(in + i), kept));
  if (const std::size_t rest = count - i; rest > 0) {
    const std::uint64_t word = where(Run64<Bits>::load(in + i, rest), kept) & first_bits(rest);
    store_word(mask + i / 8, word, rest);
  }
}

// Two registers of consecutive elements, apart into the even and the odd ones.
template <class Bits>
class Deinterleave {
 public:
  Deinterleave() noexcept {
    alignas(64) Bits even[kLanes<Bits>], odd[kLanes<Bits>];
    for (std::size_t lane = 0; lane < kLanes<Bits>; ++lane) {
      even[lane] = static_cast<Bits>(2 * lane);
      odd[lane] = static_cast<Bits>(2 * lane + 1);
    }
    even_ = _mm512_load_si512(even);
    odd_ = _mm512_load_si512(odd);
  }
  __m512i even(__m512i a, __m512i b) const noexcept { return pick(a, even_, b); }
  __m512i odd(__m512i a, __m512i b) const noexcept { return pick(a, odd_, b); }

 private:
  static __m512i pick(__m512i a, __m512i lanes, __m512i b) noexcept {
    if constexpr (sizeof(Bits) == 1) return _mm512_permutex2var_epi8(a, lanes, b);
    if constexpr (sizeof(Bits) == 2) return _mm512_permutex2var_epi16(a, lanes, b);
    if constexpr (sizeof(Bits) == 4) return _mm512_permutex2var_epi32(a, lanes, b);
    return _mm512_permutex2var_epi64(a, lanes, b);
  }
  __m512i even_, odd_;
};

// As many groups as a register has lanes, in m registers: register i becomes element i of every
// group. Splitting even from odd positions again and again sorts elements by their index.
template <class Bits, std::size_t m>
[[gnu::always_inline]] inline void transpose(const Deinterleave<Bits>& split,
                                             __m512i* registers) noexcept {
  if constexpr (m > 1) {
    __m512i even[m / 2], odd[m / 2];
#pragma GCC unroll 32
    for (std::size_t i = 0; i < m / 2; ++i) {
      even[i] = split.even(registers[2 * i], registers[2 * i + 1]);
      odd[i] = split.odd(registers[2 * i], registers[2 * i + 1]);
    }
    transpose<Bits, m / 2>(split, even);
    transpose<Bits, m / 2>(split, odd);
#pragma GCC unroll 32
    for (std::size_t i = 0; i < m / 2; ++i) {
      registers[2 * i] = even[i];
      registers[2 * i + 1] = odd[i];
    }
  }
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

// Bit i of every group's m bits, collected from one lane mask for each i.
template <class Bits, std::size_t m>
class GroupBits {
 public:
  void set(std::size_t i, MaskOf<Bits> groups) noexcept {
    for (std::size_t part = 0; part < kParts; ++part) {
      const auto these = static_cast<typename Lanes<m / 8>::Mask>(
          static_cast<std::uint64_t>(groups) >> (part * kGroupsPerPart));
      const __m512i bit = Lanes<m / 8>::all(std::uint64_t{1} << i);
      parts_[part] = Lanes<m / 8>::add(parts_[part], these, bit);
    }
  }
  // The bytes of the first `groups` groups.
  void store(std::uint8_t* mask, std::size_t groups) const noexcept {
    for (std::size_t part = 0; part < kParts; ++part) {
      const std::size_t first = part * kGroupsPerPart * m / 8, bytes = groups * m / 8;
      const std::size_t left = bytes > first ? bytes - first : 0;
      Lanes<1>::store(mask + first, first_bits(left < 64 ? left : 64), parts_[part]);
    }
  }

 private:
  static constexpr std::size_t kGroupsPerPart = 512 / m;
  static constexpr std::size_t kParts = (kLanes<Bits> * m + 511) / 512;
  __m512i parts_[kParts] = {};
};

// Groups of m = 8, 16, 32 or 64.
template <class E, std::size_t m>
class Sorted {
 public:
  using Bits = typename E::Bits;
  using Width = LanesOf<Bits>;
  static constexpr std::size_t kGroups = kLanes<Bits>;

  static void mask(const void* weights, std::size_t groups, std::size_t n,
                   std::uint8_t* mask) noexcept {
    const auto* in = static_cast<const Bits*>(weights);
    const Deinterleave<Bits> split;
    for (; groups >= kGroups; groups -= kGroups, in += kGroups * m, mask += kGroups * m / 8) {
      step(in, n, split).store(mask, kGroups);
    }
    if (groups > 0) {
      Bits padded[kGroups * m] = {};
      std::memcpy(padded, in, groups * m * sizeof(Bits));
      step(padded, n, split).store(mask, groups);
    }
  }

 private:
  static GroupBits<Bits, m> step(const Bits* in, std::size_t n,
                                 const Deinterleave<Bits>& split) noexcept {
    __m512i registers[m];
#pragma GCC unroll 64
    for (std::size_t i = 0; i < m; ++i) {
      registers[i] = key_of<E>(_mm512_loadu_si512(in + i * kLanes<Bits>));
    }
    transpose<Bits, m>(split, registers);
    alignas(64) __m512i keys[m], sorted[m];
#pragma GCC unroll 64
    for (std::size_t i = 0; i < m; ++i) keys[i] = registers[i];
    // Two sorted halves give any rank with few comparisons, and each half fits the registers.
    constexpr auto half_network = std::make_index_sequence<Network<m / 2>::kCount>();
    sort<Bits, m / 2>(registers, half_network);
    sort<Bits, m / 2>(registers + m / 2, half_network);
#pragma GCC unroll 64
    for (std::size_t i = 0; i < m; ++i) sorted[i] = registers[i];

    // Nothing equal to the smallest kept key is pruned, except in groups where the largest pruned
    // one is equal to it: there the first ones go.
    const __m512i largest_pruned = smallest_of(sorted, n),
                  smallest_kept = smallest_of(sorted, n + 1);
    const bool has_ties = Width::equal(largest_pruned, smallest_kept) != 0;
    return has_ties ? with_ties(keys, smallest_kept, n) : without_ties(keys, smallest_kept);
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

  static GroupBits<Bits, m> without_ties(const __m512i* keys, __m512i smallest_kept) noexcept {
    GroupBits<Bits, m> bits;
#pragma GCC unroll 64
    for (std::size_t i = 0; i < m; ++i) bits.set(i, Width::at_least(keys[i], smallest_kept));
    return bits;
  }

  static GroupBits<Bits, m> with_ties(const __m512i* keys, __m512i smallest_kept,
                                      std::size_t n) noexcept {
    const __m512i minus_one = Width::all(~std::uint64_t{0});
    __m512i ties = Width::all(n);  // the pruned ones that are equal to the smallest kept key
    for (std::size_t i = 0; i < m; ++i) {
      ties = Width::add(ties, Width::above(smallest_kept, keys[i]), minus_one);
    }
    GroupBits<Bits, m> bits;
    const __m512i none = _mm512_setzero_si512();
    for (std::size_t i = 0; i < m; ++i) {
      const auto tied = Width::equal(keys[i], smallest_kept);
      const auto pruned = static_cast<MaskOf<Bits>>(tied & Width::above(ties, none));
      ties = Width::add(ties, pruned, minus_one);
      bits.set(i, static_cast<MaskOf<Bits>>(Width::at_least(keys[i], smallest_kept) & ~pruned));
    }
    return bits;
  }
};

// Groups of any m: the threshold of each is searched by counting what is above a guess.
template <class E>
class Searched {
 public:
  using Bits = typename E::Bits;
  using Width = LanesOf<Bits>;

  static void mask(const void* weights, std::size_t groups, std::size_t n, std::size_t m,
                   std::uint8_t* mask) noexcept {
    const auto* group = static_cast<const Bits*>(weights);
    MaskWriter out(mask);
    std::uint64_t guess = E::kMaxKey / 2;  // neighbours are alike: begin where the last one ended
    for (std::size_t g = 0; g < groups; ++g, group += m) {
      const Cut cut = search(group, m, m - n, guess);
      guess = cut.key;
      write(group, m, cut, out);
    }
    out.finish();
  }

 private:
  // What is above `key` is kept, and of what is equal to it all but the first `pruned_ties`.
  struct Cut {
    std::uint64_t key;
    std::size_t pruned_ties;
  };

  static std::size_t count_above(const Bits* group, std::size_t m, std::uint64_t key) noexcept {
    const __m512i keys = Width::all(key);
    const auto above = [&](__m512i bits) { return Width::above(key_of<E>(bits), keys); };
    std::size_t count = 0, i = 0;
    for (; i + 64 <= m; i += 64) count += popcount(where(Run64<Bits>::load(group + i), above));
    if (i < m) count += popcount(where(Run64<Bits>::load(group + i, m - i), above));
    return count;
  }

  static Cut search(const Bits* group, std::size_t m, std::size_t kept,
                    std::uint64_t guess) noexcept {
    // At most `kept` keys are above `high`; more than that are above every key below `low`.
    std::uint64_t low = 0, high = E::kMaxKey;
    std::size_t above_low = m, above_high = 0;  // above_low: of low - 1
    std::uint64_t key = guess;
    for (unsigned steps = 0; low < high; ++steps) {
      const std::size_t count = count_above(group, m, key);
      if (count == kept) return {key, m};  // nothing equal to the key is kept
      if (count < kept) {
        high = key;
        above_high = count;
      } else {
        low = key + 1;
        above_low = count;
      }
      key = next_guess(low, high, above_low - kept, above_low - above_high, steps);
    }
    return tied_cut(group, m, kept, low);
  }

  // Interpolates between what is known, but halves the range every other time.
  static std::uint64_t next_guess(std::uint64_t low, std::uint64_t high, std::size_t part,
                                  std::size_t whole, unsigned steps) noexcept {
    const std::uint64_t span = high - low;
    if (steps % 2 == 0 || span < 4) return low + span / 2;
    const double fraction = static_cast<double>(part) / static_cast<double>(whole);
    const auto along = static_cast<std::uint64_t>(fraction * static_cast<double>(span));
    return along < span ? low + along : high - 1;
  }

  static Cut tied_cut(const Bits* group, std::size_t m, std::size_t kept,
                      std::uint64_t key) noexcept {
    const std::size_t at_least = key == 0 ? m : count_above(group, m, key - 1);
    return {key, at_least - kept};
  }

  static void write(const Bits* group, std::size_t m, Cut cut, MaskWriter& out) noexcept {
    const __m512i keys = Width::all(cut.key);
    for (std::size_t i = 0; i < m; i += 64) {
      const std::size_t count = m - i < 64 ? m - i : 64;
      const auto run =
          (count == 64 ? Run64<Bits>::load(group + i) : Run64<Bits>::load(group + i, count))
              .template keys<E>();
      std::uint64_t tied = where(run, [&](__m512i x) { return Width::equal(x, keys); });
      tied &= first_bits(count);
      const std::size_t ties = popcount(tied);
      const std::size_t pruned = ties < cut.pruned_ties ? ties : cut.pruned_ties;
      tied &= ~_pdep_u64(first_bits(pruned), tied);  // the lowest of the bits that are set
      cut.pruned_ties -= pruned;
      const std::uint64_t above = where(run, [&](__m512i x) { return Width::above(x, keys); });
      out.append(above | tied, count);
    }
  }
};

template <class E>
void nm_mask_of(const void* weights, std::size_t groups, std::size_t n, std::size_t m,
                std::uint8_t* mask) noexcept {
  if (n > 0 && n < m) {
    switch (m) {
      case 2:
        return rank_in_place<E, 1, 2>(weights, groups, mask);
      case 4:
        return n == 1   ? rank_in_place<E, 1, 4>(weights, groups, mask)
               : n == 2 ? rank_in_place<E, 2, 4>(weights, groups, mask)
                        : rank_in_place<E, 3, 4>(weights, groups, mask);
      case 8:
        return Sorted<E, 8>::mask(weights, groups, n, mask);
      case 16:
        return Sorted<E, 16>::mask(weights, groups, n, mask);
      case 32:
        return Sorted<E, 32>::mask(weights, groups, n, mask);
      case 64:
        return Sorted<E, 64>::mask(weights, groups, n, mask);
      default:
        break;
    }
    if (m > 32 && m <= 256) {
      switch ((m + 63) / 64) {
        case 1:
          return ByRadix<E, 1>::mask(weights, groups, n, m, mask);
        case 2:
          return ByRadix<E, 2>::mask(weights, groups, n, m, mask);
        case 3:
          return ByRadix<E, 3>::mask(weights, groups, n, m, mask);
        default:
          return ByRadix<E, 4>::mask(weights, groups, n, m, mask);
      }
    }
  }
  Searched<E>::mask(weights, groups, n, m, mask);
}

}  // namespace

const PerDtype<NmMask> nm_mask = PRUNEPACK_PER_ELEMENT(nm_mask_of);

}  // namespace prunepack::avx512
