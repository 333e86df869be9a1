// What the AVX-512 kernels share: registers of elements by width, keys, and runs of 64 elements.
// In an unnamed namespace; key.h says why.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "key.h"

namespace prunepack::avx512 {
namespace {

// A zeroed register that the compiler cannot see through. On Zen 4, compress and expand with
// zero-masking wait for the old value of their destination (LLVM issue 206849); merging into a
// register that was just zeroed breaks that chain, but GCC 12 would fold it back to zero-masking.
inline __m512i fresh_zero() noexcept {
  __m512i zero;
  asm("vpxorq %x0, %x0, %x0" : "=v"(zero));
  return zero;
}

// The operations on a register of elements, by their width in bytes.
template <std::size_t bytes>
struct Lanes;

template <>
struct Lanes<1> {
  using Mask = __mmask64;
  static __m512i all(std::uint64_t x) noexcept { return _mm512_set1_epi8(static_cast<char>(x)); }
  static __m512i load(Mask k, const void* p) noexcept { return _mm512_maskz_loadu_epi8(k, p); }
  static void store(void* p, Mask k, __m512i x) noexcept { _mm512_mask_storeu_epi8(p, k, x); }
  static Mask above(__m512i a, __m512i b) noexcept { return _mm512_cmpgt_epu8_mask(a, b); }
  static Mask at_least(__m512i a, __m512i b) noexcept { return _mm512_cmpge_epu8_mask(a, b); }
  static Mask equal(__m512i a, __m512i b) noexcept { return _mm512_cmpeq_epi8_mask(a, b); }
  static Mask has_bits(__m512i a, __m512i b) noexcept { return _mm512_test_epi8_mask(a, b); }
  static Mask positive(Mask k, __m512i a) noexcept {
    return _mm512_mask_cmpgt_epi8_mask(k, a, _mm512_setzero_si512());
  }
  static __m512i sub(__m512i a, __m512i b) noexcept { return _mm512_sub_epi8(a, b); }
  static __m512i min(__m512i a, __m512i b) noexcept { return _mm512_min_epu8(a, b); }
  static __m512i max(__m512i a, __m512i b) noexcept { return _mm512_max_epu8(a, b); }
  static __m512i add(__m512i a, Mask k, __m512i b) noexcept {
    return _mm512_mask_add_epi8(a, k, a, b);
  }
  static __m512i compress(Mask k, __m512i x) noexcept {
    return _mm512_mask_compress_epi8(fresh_zero(), k, x);
  }
  static __m512i expand(Mask k, const void* p) noexcept {
    return _mm512_mask_expandloadu_epi8(fresh_zero(), k, p);
  }
};

template <>
struct Lanes<2> {
  using Mask = __mmask32;
  static __m512i all(std::uint64_t x) noexcept { return _mm512_set1_epi16(static_cast<short>(x)); }
  static __m512i load(Mask k, const void* p) noexcept { return _mm512_maskz_loadu_epi16(k, p); }
  static void store(void* p, Mask k, __m512i x) noexcept { _mm512_mask_storeu_epi16(p, k, x); }
  static Mask above(__m512i a, __m512i b) noexcept { return _mm512_cmpgt_epu16_mask(a, b); }
  static Mask at_least(__m512i a, __m512i b) noexcept { return _mm512_cmpge_epu16_mask(a, b); }
  static Mask equal(__m512i a, __m512i b) noexcept { return _mm512_cmpeq_epi16_mask(a, b); }
  static Mask has_bits(__m512i a, __m512i b) noexcept { return _mm512_test_epi16_mask(a, b); }
  static Mask positive(Mask k, __m512i a) noexcept {
    return _mm512_mask_cmpgt_epi16_mask(k, a, _mm512_setzero_si512());
  }
  static __m512i sub(__m512i a, __m512i b) noexcept { return _mm512_sub_epi16(a, b); }
  static __m512i min(__m512i a, __m512i b) noexcept { return _mm512_min_epu16(a, b); }
  static __m512i max(__m512i a, __m512i b) noexcept { return _mm512_max_epu16(a, b); }
  static __m512i add(__m512i a, Mask k, __m512i b) noexcept {
    return _mm512_mask_add_epi16(a, k, a, b);
  }
  static __m512i compress(Mask k, __m512i x) noexcept {
    return _mm512_mask_compress_epi16(fresh_zero(), k, x);
  }
  static __m512i expand(Mask k, const void* p) noexcept {
    return _mm512_mask_expandloadu_epi16(fresh_zero(), k, p);
  }
};

template <>
struct Lanes<4> {
  using Mask = __mmask16;
  static __m512i all(std::uint64_t x) noexcept { return _mm512_set1_epi32(static_cast<int>(x)); }
  static __m512i load(Mask k, const void* p) noexcept { return _mm512_maskz_loadu_epi32(k, p); }
  static void store(void* p, Mask k, __m512i x) noexcept { _mm512_mask_storeu_epi32(p, k, x); }
  static Mask above(__m512i a, __m512i b) noexcept { return _mm512_cmpgt_epu32_mask(a, b); }
  static Mask at_least(__m512i a, __m512i b) noexcept { return _mm512_cmpge_epu32_mask(a, b); }
  static Mask equal(__m512i a, __m512i b) noexcept { return _mm512_cmpeq_epi32_mask(a, b); }
  static Mask has_bits(__m512i a, __m512i b) noexcept { return _mm512_test_epi32_mask(a, b); }
  static Mask positive(Mask k, __m512i a) noexcept {
    return _mm512_mask_cmpgt_epi32_mask(k, a, _mm512_setzero_si512());
  }
  static __m512i sub(__m512i a, __m512i b) noexcept { return _mm512_sub_epi32(a, b); }
  static __m512i min(__m512i a, __m512i b) noexcept { return _mm512_min_epu32(a, b); }
  static __m512i max(__m512i a, __m512i b) noexcept { return _mm512_max_epu32(a, b); }
  static __m512i add(__m512i a, Mask k, __m512i b) noexcept {
    return _mm512_mask_add_epi32(a, k, a, b);
  }
  static __m512i compress(Mask k, __m512i x) noexcept {
    return _mm512_mask_compress_epi32(fresh_zero(), k, x);
  }
  static __m512i expand(Mask k, const void* p) noexcept {
    return _mm512_mask_expandloadu_epi32(fresh_zero(), k, p);
  }
};

template <>
struct Lanes<8> {
  using Mask = __mmask8;
  static __m512i all(std::uint64_t x) noexcept {
    return _mm512_set1_epi64(static_cast<long long>(x));
  }
  static __m512i load(Mask k, const void* p) noexcept { return _mm512_maskz_loadu_epi64(k, p); }
  static void store(void* p, Mask k, __m512i x) noexcept { _mm512_mask_storeu_epi64(p, k, x); }
  static Mask above(__m512i a, __m512i b) noexcept { return _mm512_cmpgt_epu64_mask(a, b); }
  static Mask at_least(__m512i a, __m512i b) noexcept { return _mm512_cmpge_epu64_mask(a, b); }
  static Mask equal(__m512i a, __m512i b) noexcept { return _mm512_cmpeq_epi64_mask(a, b); }
  static Mask has_bits(__m512i a, __m512i b) noexcept { return _mm512_test_epi64_mask(a, b); }
  static Mask positive(Mask k, __m512i a) noexcept {
    return _mm512_mask_cmpgt_epi64_mask(k, a, _mm512_setzero_si512());
  }
  static __m512i sub(__m512i a, __m512i b) noexcept { return _mm512_sub_epi64(a, b); }
  static __m512i min(__m512i a, __m512i b) noexcept { return _mm512_min_epu64(a, b); }
  static __m512i max(__m512i a, __m512i b) noexcept { return _mm512_max_epu64(a, b); }
  static __m512i add(__m512i a, Mask k, __m512i b) noexcept {
    return _mm512_mask_add_epi64(a, k, a, b);
  }
  static __m512i compress(Mask k, __m512i x) noexcept {
    return _mm512_mask_compress_epi64(fresh_zero(), k, x);
  }
  static __m512i expand(Mask k, const void* p) noexcept {
    return _mm512_mask_expandloadu_epi64(fresh_zero(), k, p);
  }
};

template <class Bits>
using LanesOf = Lanes<sizeof(Bits)>;
template <class Bits>
using MaskOf = typename LanesOf<Bits>::Mask;
template <class Bits>
constexpr std::size_t kLanes = 64 / sizeof(Bits);

// The mask of the first `count` <= kLanes lanes.
template <class Bits>
MaskOf<Bits> first_lanes(std::size_t count) noexcept {
  return static_cast<MaskOf<Bits>>(_bzhi_u64(~std::uint64_t{0}, static_cast<unsigned>(count)));
}

template <class E>
__m512i key_of(__m512i bits) noexcept {
  if constexpr (E::kMaxKey == static_cast<typename E::Bits>(~typename E::Bits{0})) {
    // int8 and uint8, told apart by what -1 becomes.
    return E::key(0xff) == 1 ? _mm512_abs_epi8(bits) : bits;
  } else {
    return _mm512_and_si512(bits, LanesOf<typename E::Bits>::all(E::kMaxKey));
  }
}

// 64 elements: as many registers as an element has bytes. With a `count` below 64, the elements
// beyond it are not read, and are zero.
template <class Bits>
struct Run64 {
  static constexpr std::size_t kRegisters = sizeof(Bits);
  __m512i registers[kRegisters];

  static Run64 load(const Bits* p) noexcept {
    Run64 run;
    for (std::size_t r = 0; r < kRegisters; ++r) {
      run.registers[r] = _mm512_loadu_si512(p + r * kLanes<Bits>);
    }
    return run;
  }
  static Run64 load(const Bits* p, std::size_t count) noexcept {
    Run64 run;
    for (std::size_t r = 0; r < kRegisters; ++r) {
      const std::size_t first = r * kLanes<Bits>, left = count > first ? count - first : 0;
      const auto lanes = first_lanes<Bits>(left < kLanes<Bits> ? left : kLanes<Bits>);
      run.registers[r] = LanesOf<Bits>::load(lanes, p + first);
    }
    return run;
  }
  template <class E>
  Run64 keys() const noexcept {
    Run64 run;
    for (std::size_t r = 0; r < kRegisters; ++r) run.registers[r] = key_of<E>(registers[r]);
    return run;
  }
};

// One word from the masks of the registers of a run, the first register lowest.
template <class Bits>
std::uint64_t join(const MaskOf<Bits>* masks) noexcept {
  if constexpr (sizeof(Bits) == 1) {
    return _cvtmask64_u64(masks[0]);
  } else if constexpr (sizeof(Bits) == 2) {
    return _cvtmask64_u64(_mm512_kunpackd(masks[1], masks[0]));
  } else if constexpr (sizeof(Bits) == 4) {
    return _cvtmask64_u64(
        _mm512_kunpackd(_mm512_kunpackw(masks[3], masks[2]), _mm512_kunpackw(masks[1], masks[0])));
  } else {
    const __mmask32 low =
        _mm512_kunpackw(_mm512_kunpackb(masks[3], masks[2]), _mm512_kunpackb(masks[1], masks[0]));
    const __mmask32 high =
        _mm512_kunpackw(_mm512_kunpackb(masks[7], masks[6]), _mm512_kunpackb(masks[5], masks[4]));
    return _cvtmask64_u64(_mm512_kunpackd(high, low));
  }
}

// The word whose bit i is test(register of element i).
template <class Bits, class Test>
std::uint64_t where(const Run64<Bits>& run, Test test) noexcept {
  MaskOf<Bits> masks[Run64<Bits>::kRegisters];
  for (std::size_t r = 0; r < Run64<Bits>::kRegisters; ++r) masks[r] = test(run.registers[r]);
  return join<Bits>(masks);
}

inline std::uint64_t first_bits(std::size_t count) noexcept {
  return _bzhi_u64(~std::uint64_t{0}, static_cast<unsigned>(count));
}

inline std::size_t popcount(std::uint64_t word) noexcept {
  return static_cast<std::size_t>(_mm_popcnt_u64(word));
}

inline void store_word(std::uint8_t* mask, std::uint64_t word) noexcept {
  std::memcpy(mask, &word, sizeof word);
}

// The bytes of a mask of `count` < 64 elements.
inline void store_word(std::uint8_t* mask, std::uint64_t word, std::size_t count) noexcept {
  std::memcpy(mask, &word, (count + 7) / 8);
}

inline std::uint64_t load_word(const std::uint8_t* mask) noexcept {
  std::uint64_t word;
  std::memcpy(&word, mask, sizeof word);
  return word;
}

// The same with zeros beyond the first `count` < 64 bits, reading only their bytes.
inline std::uint64_t load_word(const std::uint8_t* mask, std::size_t count) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, mask, (count + 7) / 8);
  return word & first_bits(count);
}

}  // namespace
}  // namespace prunepack::avx512
