// Bit planes of keys, AVX-512: of 64 keys of each of eight runs, one byte at a time.
#pragma once

#include "avx512.h"

namespace prunepack::avx512 {
namespace {

// Makes planes of bytes. Element e of a run has bit 7 - e % 8 of byte e / 8 of the run's lane:
// `reversed` puts that right.
class BitPlanes {
 public:
  BitPlanes() noexcept {
    alignas(64) std::uint8_t even[64], odd[64];
    for (unsigned to = 0; to < 64; ++to) {
      const unsigned octet = to % 8, second = to / 8 % 2, plane_pair = to / 16;
      even[to] = static_cast<std::uint8_t>(64 * second + 8 * octet + 2 * plane_pair);
      odd[to] = static_cast<std::uint8_t>(even[to] + 1);
    }
    even_ = _mm512_load_si512(even);
    odd_ = _mm512_load_si512(odd);
  }

  // Lane r of register b becomes bit b of the bytes of what was register r.
  [[gnu::always_inline]] void transpose(__m512i (&registers)[8]) const noexcept {
    // The bits of eight bytes each: byte b of a lane has their bits b.
    const __m512i each_bit = _mm512_set1_epi64(static_cast<long long>(0x8040201008040201));
#pragma GCC unroll 8
    for (std::size_t r = 0; r < 8; ++r) {
      registers[r] = _mm512_gf2p8affine_epi64_epi8(each_bit, registers[r], 0);
    }
    // Now bytes, in three steps: each halves the planes that a register has, and doubles the runs.
#pragma GCC unroll 4
    for (std::size_t r = 0; r < 8; r += 2) {
      const __m512i a = registers[r], b = registers[r + 1];
      registers[r] = _mm512_permutex2var_epi8(a, even_, b);
      registers[r + 1] = _mm512_permutex2var_epi8(a, odd_, b);
    }
    exchange_quarters<2>(registers);
    exchange_quarters<4>(registers);
  }

  // Turns the bits of every byte round.
  static __m512i reversed(__m512i bytes) noexcept {
    const __m512i turned = _mm512_set1_epi64(static_cast<long long>(0x8040201008040201));
    return _mm512_gf2p8affine_epi64_epi8(bytes, turned, 0);
  }

 private:
  template <std::size_t by>
  [[gnu::always_inline]] static void exchange_quarters(__m512i (&registers)[8]) noexcept {
#pragma GCC unroll 8
    for (std::size_t r = 0; r < 8; ++r) {
      if ((r & by) != 0) continue;
      const __m512i a = registers[r], b = registers[r + by];
      registers[r] = _mm512_shuffle_i64x2(a, b, 0x88);
      registers[r + by] = _mm512_shuffle_i64x2(a, b, 0xdd);
    }
  }

  __m512i even_, odd_;
};

// One byte of each of 64 keys, as they are in memory but for int8: with the sign, if they have one.
template <class E>
class KeyBytes {
 public:
  using Bits = typename E::Bits;

  explicit KeyBytes(std::size_t byte) noexcept {
    alignas(64) std::uint8_t from[64];
    for (std::size_t i = 0; i < 64; ++i) {
      from[i] = static_cast<std::uint8_t>((i * sizeof(Bits) + byte) % 128);
    }
    from_ = _mm512_load_si512(from);
  }

  [[gnu::always_inline]] __m512i of(const Run64<Bits>& run) const noexcept {
    const auto& in = run.registers;
    if constexpr (sizeof(Bits) == 1) {
      return key_of<E>(in[0]);
    } else if constexpr (sizeof(Bits) == 2) {
      return picked(in);
    } else if constexpr (sizeof(Bits) == 4) {
      return _mm512_inserti64x4(picked(in), _mm512_castsi512_si256(picked(in + 2)), 1);
    } else {
      __m512i bytes = _mm512_inserti32x4(picked(in), _mm512_castsi512_si128(picked(in + 2)), 1);
      bytes = _mm512_inserti32x4(bytes, _mm512_castsi512_si128(picked(in + 4)), 2);
      return _mm512_inserti32x4(bytes, _mm512_castsi512_si128(picked(in + 6)), 3);
    }
  }

 private:
  [[gnu::always_inline]] __m512i picked(const __m512i* in) const noexcept {
    return _mm512_permutex2var_epi8(in[0], from_, in[1]);
  }

  __m512i from_;
};

}  // namespace
}  // namespace prunepack::avx512
