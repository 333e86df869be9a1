// 7:8 masks, AVX2: of every group the largest is kept, of equal ones the last, which takes less
// than to rank all.
#pragma once

#include "avx2.h"
#include "fetch_ahead.h"
#include "last_bits.h"

namespace prunepack::avx2 {
namespace {

template <class E>
class LargestOf8 {
 public:
  using Bits = typename E::Bits;

  static void mask(const Bits* bits, std::size_t groups, std::uint8_t* mask) noexcept {
    const std::size_t count = groups * 8;
    std::size_t i = 0;
    for (; i + 2 * kStep <= count; i += 2 * kStep) {
      fetch_ahead<2 * kStep * sizeof(Bits)>(bits + i);
      const std::uint64_t word = kept_word(bits + i);
      std::memcpy(mask + i / 8, &word, sizeof word);
    }
    if (i < count) {
      alignas(32) Bits last[2 * kStep] = {};
      std::memcpy(last, bits + i, (count - i) * sizeof(Bits));
      const std::uint64_t word = kept_word(last);
      std::memcpy(mask + i / 8, &word, (count - i) / 8);
    }
  }

 private:
  using L = typename Ordered<E>::L;

  PRUNEPACK_INLINE static std::uint64_t kept_word(const Bits* bits) noexcept {
    return last_of_bytes(largest_word(bits) | std::uint64_t{largest_word(bits + kStep)} << kStep);
  }

  // Which of 32 elements are as large as the largest of their group.
  PRUNEPACK_INLINE static std::uint32_t largest_word(const Bits* bits) noexcept {
    __m256i equal[sizeof(Bits)];
#pragma GCC unroll 8
    for (std::size_t r = 0; r < sizeof(Bits); ++r) {
      const __m256i keys = Ordered<E>::load(bits + r * kStep / sizeof(Bits));
      equal[r] = L::equal(keys, largest<8 * sizeof(Bits)>(keys));
    }
    return signs(equal);
  }

  // In every lane the largest key of its group of `bytes` bytes: of what is the same in both halves
  // of a group, the halves of a half are compared next.
  template <std::size_t bytes>
  PRUNEPACK_INLINE static __m256i largest(__m256i keys) noexcept {
    if constexpr (bytes == sizeof(Bits)) {
      return keys;
    } else {
      return largest<bytes / 2>(L::max(keys, moved_by<bytes / 2>(keys)));
    }
  }

  template <std::size_t bytes>
  PRUNEPACK_INLINE static __m256i moved_by(__m256i keys) noexcept {
    if constexpr (bytes == 16) return _mm256_permute4x64_epi64(keys, 0x4e);
    if constexpr (bytes == 8) return _mm256_shuffle_epi32(keys, 0x4e);
    if constexpr (bytes == 4) return _mm256_shuffle_epi32(keys, 0xb1);
    constexpr long long kOrder = bytes == 2 ? 0x0504070601000302 : 0x0607040502030001;
    const __m256i order = _mm256_setr_epi64x(kOrder, kOrder + 0x0808080808080808, kOrder,
                                             kOrder + 0x0808080808080808);
    return _mm256_shuffle_epi8(keys, order);
  }
};

}  // namespace
}  // namespace prunepack::avx2
