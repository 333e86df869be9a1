// 7:8 masks, AVX-512: of every group the largest is kept, of equal ones the last, which takes less
// than to rank all.
#pragma once

#include "avx512.h"
#include "fetch_ahead.h"
#include "last_bits.h"

namespace prunepack::avx512 {
namespace {

template <class E>
class LargestOf8 {
 public:
  using Bits = typename E::Bits;

  static void mask(const void* weights, std::size_t groups, std::uint8_t* mask) noexcept {
    const auto* in = static_cast<const Bits*>(weights);
    const std::size_t count = groups * 8;
    std::size_t i = 0;
    for (; i + 64 <= count; i += 64) {
      fetch_ahead<64 * sizeof(Bits)>(in + i);
      store_word(mask + i / 8, word(Run64<Bits>::load(in + i)));
    }
    if (const std::size_t rest = count - i; rest > 0) {
      store_word(mask + i / 8, word(Run64<Bits>::load(in + i, rest)), rest);
    }
  }

 private:
  static std::uint64_t word(const Run64<Bits>& run) noexcept {
    return last_of_bytes(where(run, [](__m512i bits) {
      const __m512i key = key_of<E>(bits);
      return LanesOf<Bits>::equal(key, largest<8 * sizeof(Bits)>(key));
    }));
  }

  // In every lane the largest key of its group of `bytes` bytes: of what is the same in both halves
  // of a group, the halves of a half are compared next.
  template <std::size_t bytes>
  static __m512i largest(__m512i keys) noexcept {
    if constexpr (bytes == sizeof(Bits)) {
      return keys;
    } else {
      return largest<bytes / 2>(LanesOf<Bits>::max(keys, moved_by<bytes / 2>(keys)));
    }
  }

  template <std::size_t bytes>
  static __m512i moved_by(__m512i keys) noexcept {
    if constexpr (bytes == 32) return _mm512_shuffle_i64x2(keys, keys, 0x4e);
    if constexpr (bytes == 16) return _mm512_permutex_epi64(keys, 0x4e);
    if constexpr (bytes == 8) return _mm512_shuffle_epi32(keys, _MM_PERM_BADC);
    return _mm512_rol_epi64(keys, 8 * (bytes % 8));
  }
};

}  // namespace
}  // namespace prunepack::avx512
