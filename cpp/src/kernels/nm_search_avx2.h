// n:m masks for large m, AVX2: by counting.
#pragma once

#include "avx2.h"
#include "threshold_search.h"

namespace prunepack::avx2 {
namespace {

// Masks of any length, one after the other.
class BitStream {
 public:
  explicit BitStream(std::uint8_t* mask) noexcept : to_(mask) {}

  // The low `count` <= 32 bits; those above must be 0.
  void append(std::uint32_t bits, std::size_t count) noexcept {
    pending_ |= std::uint64_t{bits} << count_;
    count_ += count;
    if (count_ < 32) return;
    const auto word = static_cast<std::uint32_t>(pending_);
    std::memcpy(to_, &word, sizeof word);
    to_ += 4;
    pending_ >>= 32;
    count_ -= 32;
  }
  void finish() noexcept { std::memcpy(to_, &pending_, (count_ + 7) / 8); }

 private:
  std::uint8_t* to_;
  std::uint64_t pending_ = 0;
  std::size_t count_ = 0;
};

// The sum of lanes that count.
template <std::size_t bytes>
std::size_t sum_of(__m256i counts) noexcept {
  if constexpr (bytes == 1) counts = _mm256_sad_epu8(counts, _mm256_setzero_si256());
  if constexpr (bytes == 2) counts = _mm256_madd_epi16(counts, _mm256_set1_epi16(1));
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(counts), _mm256_extracti128_si256(counts, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  if constexpr (bytes == 2 || bytes == 4) sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
  return static_cast<std::size_t>(static_cast<std::uint32_t>(_mm_cvtsi128_si32(sum)));
}

template <class E>
class Searched {
 public:
  using Bits = typename E::Bits;
  using O = Ordered<E>;
  using L = typename O::L;

  // 0 < n < m.
  Searched(std::size_t m, std::size_t n) noexcept : m_(m), kept_(m - n) {}

  void append_mask(const Bits* group, BitStream& mask) noexcept {
    const LastStep<Bits> last(group + m_ / kStep * kStep, m_ % kStep);
    Threshold threshold = search_.find(m_, kept_, [&](std::uint64_t key) PRUNEPACK_INLINE_LAMBDA {
      return counted(group, last, key);
    });
    BitStream out = mask;  // in registers: what is stored through it could not be the original
    std::size_t i = 0;
    for (; i + kStep <= m_; i += kStep) out.append(kept_word(group + i, threshold), kStep);
    if (i < m_) {
      const std::uint32_t valid = (std::uint32_t{1} << (m_ - i)) - 1;
      out.append(kept_word(last.elements, threshold) & valid, m_ - i);
    }
    mask = out;
  }

 private:
  static constexpr std::size_t kLanes = 32 / sizeof(Bits);
  // Registers counted before a lane of 8 bits would overflow, in whole steps.
  static constexpr std::size_t kBlock = 192 * kLanes;

  // Counts by lane: a comparison that holds is -1, which is subtracted.
  struct Sums {
    __m256i above = _mm256_setzero_si256(), tied = _mm256_setzero_si256();

    PRUNEPACK_INLINE void add_step(const Bits* bits, __m256i bound) noexcept {
      for (std::size_t r = 0; r < sizeof(Bits); ++r) {
        const __m256i keys = O::load(bits + r * kLanes);
        above = L::sub(above, L::above(keys, bound));
        tied = L::sub(tied, L::equal(keys, bound));
      }
    }
    PRUNEPACK_INLINE void add_to(Counted& counted) const noexcept {
      counted.above += sum_of<sizeof(Bits)>(above);
      counted.tied += sum_of<sizeof(Bits)>(tied);
    }
  };

  PRUNEPACK_INLINE Counted counted(const Bits* group, const LastStep<Bits>& last,
                                   std::uint64_t key) const noexcept {
    const __m256i bound = L::all(O::of(key));
    Counted counted{0, 0};
    for (std::size_t i = 0; i + kStep <= m_;) {
      const std::size_t whole = m_ / kStep * kStep - i;
      const std::size_t end = i + (whole < kBlock ? whole : kBlock);
      Sums sums;
      for (; i < end; i += kStep) sums.add_step(group + i, bound);
      sums.add_to(counted);
    }
    if (m_ % kStep != 0) {
      Sums sums;
      sums.add_step(last.elements, bound);
      sums.add_to(counted);
      if (key == 0) counted.tied -= kStep - m_ % kStep;  // the zeros that fill up the last step
    }
    return counted;
  }

  // The mask of the next 32 weights of a group.
  PRUNEPACK_INLINE static std::uint32_t kept_word(const Bits* bits, Threshold& threshold) noexcept {
    const __m256i bound = L::all(O::of(threshold.key));
    __m256i above[sizeof(Bits)], tied[sizeof(Bits)];
    for (std::size_t r = 0; r < sizeof(Bits); ++r) {
      const __m256i keys = O::load(bits + r * kLanes);
      above[r] = L::above(keys, bound);
      tied[r] = L::equal(keys, bound);
    }
    std::uint32_t ties = signs(tied);
    if (threshold.pruned_ties == 0) return signs(above) | ties;
    const std::size_t found = popcount(ties);
    if (found <= threshold.pruned_ties) {
      threshold.pruned_ties -= found;
      return signs(above);
    }
    for (; threshold.pruned_ties > 0; --threshold.pruned_ties) ties = _blsr_u32(ties);
    return signs(above) | ties;
  }

  std::size_t m_, kept_;
  ThresholdSearch search_{O::kHighest};
};

}  // namespace
}  // namespace prunepack::avx2
