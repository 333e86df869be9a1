// n:m masks for large m, AVX2: a search for each group's threshold by counting, begun where that
// of the group before ended.
#pragma once

#include "avx2.h"

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
    std::memcpy(to_, &pending_, 4);
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
class ThresholdSearch {
 public:
  using Bits = typename E::Bits;
  using O = Ordered<E>;
  using L = typename O::L;

  ThresholdSearch(std::size_t m, std::size_t n) noexcept : m_(m), kept_(m - n) {}

  void append_mask(const Bits* group, BitStream& mask) noexcept {
    const LastStep<Bits> last(group + m_ / kStep * kStep, m_ % kStep);
    search(group, last);
    std::size_t i = 0;
    for (; i + kStep <= m_; i += kStep) mask.append(kept_word(group + i), kStep);
    if (i < m_) {
      const std::uint32_t valid = (std::uint32_t{1} << (m_ - i)) - 1;
      mask.append(kept_word(last.elements) & valid, m_ - i);
    }
  }

 private:
  static constexpr std::size_t kLanes = 32 / sizeof(Bits);
  // Registers counted before a lane of 8 bits would overflow, in whole steps.
  static constexpr std::size_t kBlock = 192 * kLanes;

  // How many of a group are above a key. What fills up the last step is 0 and never is.
  PRUNEPACK_INLINE std::size_t count_above(const Bits* group, const LastStep<Bits>& last,
                                           Bits key) const noexcept {
    const __m256i bound = L::all(O::of(key));
    std::size_t above = 0;
    for (std::size_t i = 0; i + kStep <= m_;) {
      const std::size_t whole = m_ / kStep * kStep - i;
      const std::size_t end = i + (whole < kBlock ? whole : kBlock);
      __m256i counts[2] = {};
      for (; i < end; i += kStep) {
        for (std::size_t r = 0; r < sizeof(Bits); ++r) {
          const __m256i beyond = L::above(O::load(group + i + r * kLanes), bound);
          counts[r % 2] = L::sub(counts[r % 2], beyond);
        }
      }
      above += sum_of<sizeof(Bits)>(L::add(counts[0], counts[1]));
    }
    if (m_ % kStep != 0) {
      __m256i rest = _mm256_setzero_si256();
      for (std::size_t i = 0; i < kStep; i += kLanes) {
        rest = L::sub(rest, L::above(O::load(last.elements + i), bound));
      }
      above += sum_of<sizeof(Bits)>(rest);
    }
    return above;
  }

  // What is known of the threshold, the smallest key that no more than kept_ weights are above.
  struct Range {
    Bits low, high;
    std::size_t not_below;  // weights with keys of `low` and more; more than kept_ if low > 0
    std::size_t above;      // weights with keys above `high`; at most kept_
  };

  // A key from range.low to range.high - 1 to count at. First near the threshold of the group
  // before, ever further away, until it lies between two keys counted at; then where it would be
  // if the weights between were spread evenly, and now and then in the middle, which bounds the
  // number of steps.
  Bits next_key(const Range& range, std::size_t step, Bits reach) const noexcept {
    const Bits last = static_cast<Bits>(range.high - 1);
    Bits key = threshold_;
    if (step > 0 && range.high == O::kHighest) {
      key =
          static_cast<Bits>(last - range.low) > reach ? static_cast<Bits>(range.low + reach) : last;
    } else if (step > 0 && range.low == 0) {
      key = last > reach ? static_cast<Bits>(last - reach) : Bits{0};
    } else if (step > 0 && step % 4 != 3) {
      const double share = static_cast<double>(range.not_below - kept_) /
                           static_cast<double>(range.not_below - range.above);
      key = static_cast<Bits>(
          range.low + static_cast<Bits>(share * static_cast<double>(range.high - range.low)));
    } else if (step > 0) {
      key = static_cast<Bits>(range.low + (range.high - range.low) / 2);
    }
    if (key < range.low) key = range.low;
    return key > last ? last : key;
  }

  void search(const Bits* group, const LastStep<Bits>& last) noexcept {
    Range range{0, O::kHighest, m_, 0};
    Bits reach = reach_;
    for (std::size_t step = 0; range.low < range.high && range.above != kept_; ++step) {
      const Bits key = next_key(range, step, reach);
      const std::size_t above = count_above(group, last, key);
      if (above <= kept_) {
        range.high = key;
        range.above = above;
      } else {
        range.low = static_cast<Bits>(key + 1);
        range.not_below = above;
      }
      if (reach < O::kHighest / 4) reach = static_cast<Bits>(4 * reach);
    }
    const Bits moved = static_cast<Bits>(range.high > threshold_ ? range.high - threshold_
                                                                 : threshold_ - range.high);
    reach_ = static_cast<Bits>(reach_ / 2 + moved / 2 + 1);
    threshold_ = range.high;
    // All tied weights are pruned, or the first few.
    ties_ = range.above == kept_ ? 0 : range.not_below - range.above;
    pruned_ties_ = range.above == kept_ ? 0 : range.not_below - kept_;
  }

  // The mask of the next 32 weights of a group.
  PRUNEPACK_INLINE std::uint32_t kept_word(const Bits* bits) noexcept {
    const __m256i bound = L::all(O::of(threshold_));
    __m256i above[sizeof(Bits)], tied[sizeof(Bits)];
    for (std::size_t r = 0; r < sizeof(Bits); ++r) {
      const __m256i keys = O::load(bits + r * kLanes);
      above[r] = L::above(keys, bound);
      tied[r] = L::equal(keys, bound);
    }
    if (ties_ == 0) return signs(above);
    std::uint32_t ties = signs(tied);
    const std::size_t found = popcount(ties);
    if (found <= pruned_ties_) {
      pruned_ties_ -= found;
      ties = 0;
    }
    for (; pruned_ties_ > 0 && ties != 0; --pruned_ties_) ties = _blsr_u32(ties);
    return signs(above) | ties;
  }

  std::size_t m_, kept_;
  Bits threshold_ = O::kHighest / 2, reach_ = O::kHighest / 16;
  std::size_t ties_ = 0, pruned_ties_ = 0;
};

}  // namespace
}  // namespace prunepack::avx2
