// nm_mask, AVX-512. Groups of 2 and 4 are ranked where they lie; those of 8, 16 and 32 are
// transposed, so that a register holds one element of many groups, and sorted; smaller ones are
// padded to these. Larger ones are decided bit by bit, very large ones digit by digit, or searched
// for thresholds.
#include "avx512.h"
#include "fetch_ahead.h"
#include "nm_digits_avx512.h"
#include "nm_largest_avx512.h"
#include "nm_planes_avx512.h"
#include "nm_search_avx512.h"
#include "nm_upright_avx512.h"
#include "tables.h"

namespace prunepack::avx512 {
namespace {

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
        later[lane] = static_cast<Bits>(other <= lane ? 0 : kIsFlag ? 1 : ~0);
      }
      from_[turn] = _mm512_load_si512(from);
      later_[turn] = _mm512_load_si512(later);
    }
  }

  // The keys as they are compared.
  static __m512i comparable(__m512i bits) noexcept {
    const __m512i key = key_of<E>(bits);
    return kIsInt8 ? _mm512_sub_epi8(key, _mm512_set1_epi8(1)) : key;
  }

  // The sign of each lane tells whether the element is beaten by the one `turn` places on in its
  // group: one that is larger, or equal and later.
  template <std::size_t turn>
  __m512i beaten(__m512i key) const noexcept {
    const __m512i other = rotated<turn>(key);
    if constexpr (kIsInt8) {
      // The same on 0..128 moved to -1..127: the second difference is cut off at 127, not wrapped.
      const __m512i least = _mm512_sub_epi8(key, later_[turn]);
      return _mm512_subs_epi8(least, other);
    } else if constexpr (kHasSpareBit<E>) {
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

  // What the element `turn` places on in the group has.
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

 private:
  static constexpr bool kIsInt8 = !kHasSpareBit<E> && E::key(0xff) == 1;
  static constexpr bool kIsFlag = kIsInt8 || kHasSpareBit<E>;  // what later_ is

  __m512i from_[m], later_[m];
};

template <class E, std::size_t n, std::size_t m>
void rank_in_place(const void* weights, std::size_t groups, std::uint8_t* mask) noexcept {
  using Bits = typename E::Bits;
  const auto* in = static_cast<const Bits*>(weights);
  const Rotations<E, m> rotations;
  const auto kept = [&](__m512i bits) {
    const __m512i key = rotations.comparable(bits), beaten = rotations.template beaten<1>(key);
    if constexpr (m == 2) {
      return static_cast<MaskOf<Bits>>(~signs<sizeof(Bits)>(beaten));
    } else {
      // The one three places on is the one before, which beats what does not beat it.
      return static_cast<MaskOf<Bits>>(signs<sizeof(Bits)>(kept_of_4<n, 1>(
          beaten, rotations.template beaten<2>(key), rotations.template rotated<3>(beaten))));
    }
  };
  const std::size_t count = groups * m;
  std::size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    fetch_ahead<64 * sizeof(Bits)>(in + i);
    store_word(mask + i / 8, where(Run64<Bits>::load(in + i), kept));
  }
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

// Groups of m = 8, 16 or 32.
template <class E, std::size_t m>
class Sorted {
 public:
  using Bits = typename E::Bits;
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
      if constexpr (m == 8) fetch_ahead<64>(in + i * kLanes<Bits>);
      registers[i] = key_of<E>(_mm512_loadu_si512(in + i * kLanes<Bits>));
    }
    transpose<Bits, m>(split, registers);
    GroupBits<Bits, m> bits;
    Upright<E, m>::for_kept(registers, n, [&](std::size_t i, auto kept) { bits.set(i, kept); });
    return bits;
  }
};

// Groups of m = 2, 4, 8, 16 or 32. 0 < n < m.
template <class E, std::size_t m>
void whole_mask(const void* weights, std::size_t groups, std::size_t n,
                std::uint8_t* mask) noexcept {
  if constexpr (m == 2) {
    rank_in_place<E, 1, 2>(weights, groups, mask);
  } else if constexpr (m == 4) {
    if (n == 1) return rank_in_place<E, 1, 4>(weights, groups, mask);
    if (n == 2) return rank_in_place<E, 2, 4>(weights, groups, mask);
    rank_in_place<E, 3, 4>(weights, groups, mask);
  } else {
    Sorted<E, m>::mask(weights, groups, n, mask);
  }
}

// Groups of m < padded, with zeros put in front of them: those are the smallest and come first, so
// they are pruned before all others.
template <class E, std::size_t padded>
void padded_mask(const void* weights, std::size_t groups, std::size_t n, std::size_t m,
                 std::uint8_t* mask) noexcept {
  using Bits = typename E::Bits;
  // In a block: at least what is looked at together, and so much that a call is worth its while.
  constexpr std::size_t kGroups = kLanes<Bits> < 512 / padded ? 512 / padded : kLanes<Bits>;
  constexpr std::size_t kElements = kGroups * padded;
  const auto* in = static_cast<const Bits*>(weights);
  const std::size_t zeros = padded - m;
  std::uint64_t own = first_bits(padded) & ~first_bits(zeros);  // of every 64 padded elements
  for (std::size_t filled = padded; filled < 64; filled *= 2) own |= own << filled;

  MaskWriter out(mask);
  for (std::size_t some; groups > 0; groups -= some, in += some * m) {
    some = groups < kGroups ? groups : kGroups;
    Bits rest[kElements];
    const Bits* from = in;
    if (some < kGroups) {
      std::memset(rest, 0, sizeof rest);
      from = static_cast<const Bits*>(std::memcpy(rest, in, some * m * sizeof(Bits)));
    }
    alignas(64) Bits block[kElements];
    for (std::size_t i = 0; i < kElements; i += kLanes<Bits>) {
      const auto lanes = static_cast<MaskOf<Bits>>(own >> i % 64);
      _mm512_store_si512(block + i, LanesOf<Bits>::expand(lanes, from));
      from += popcount(lanes);
    }
    std::uint8_t bits[kElements / 8];
    whole_mask<E, padded>(block, kGroups, n + zeros, bits);
    for (std::size_t g = 0; g < some; g += 64 / padded) {
      const std::size_t left = some - g, here = left < 64 / padded ? left : 64 / padded;
      out.append(_pext_u64(load_word(bits + g * padded / 8), own) & first_bits(here * m), here * m);
    }
  }
  out.finish();
}

template <class E>
void nm_mask_of(const void* weights, std::size_t groups, std::size_t n, std::size_t m,
                std::uint8_t* mask) noexcept {
  if (n == 0 || n == m) return fill_bits(mask, groups * m, n == 0);
  switch (m) {
    case 2:
      return whole_mask<E, 2>(weights, groups, n, mask);
    case 4:
      return whole_mask<E, 4>(weights, groups, n, mask);
    case 8:
      if (n == 7) return LargestOf8<E>::mask(weights, groups, mask);
      return whole_mask<E, 8>(weights, groups, n, mask);
    case 16:
      return whole_mask<E, 16>(weights, groups, n, mask);
    case 32:
      return whole_mask<E, 32>(weights, groups, n, mask);
    default:
      break;
  }
  if (m < 4) return padded_mask<E, 4>(weights, groups, n, m, mask);
  if (m < 8) return padded_mask<E, 8>(weights, groups, n, m, mask);
  if (m < 16) return padded_mask<E, 16>(weights, groups, n, m, mask);
  if (m < 32) return padded_mask<E, 32>(weights, groups, n, m, mask);
  if (m <= 64) return ByPlanes<E, 1>::mask(weights, groups, n, m, mask);
  if (m <= 128) return ByPlanes<E, 2>::mask(weights, groups, n, m, mask);
  if (m <= 256) return ByPlanes<E, 4>::mask(weights, groups, n, m, mask);
  if (m <= 512) return ByPlanes<E, 8>::mask(weights, groups, n, m, mask);
  if constexpr (sizeof(typename E::Bits) == 4) {
    if (m <= ByDigits::kMost) return ByDigits::mask(weights, groups, n, m, mask);
  }
  Searched<E>::mask(weights, groups, n, m, mask);
}

}  // namespace

const PerDtype<NmMask> nm_mask = PRUNEPACK_PER_ELEMENT(nm_mask_of);

}  // namespace prunepack::avx512
