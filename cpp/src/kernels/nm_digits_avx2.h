// n:m masks for groups of 128 to 8160 float32, AVX2: a window of keys around the cut is divided
// into 64 digits, a byte for every key, and the digit of the cut is found by counting, bit by bit.
#pragma once

#include "avx2.h"
#include "cut_window.h"
#include "fetch_ahead.h"
#include "nm_search_avx2.h"

namespace prunepack::avx2 {
namespace {

// The digits of keys: negative below the window, and beyond the highest digit above it.
class Digits {
 public:
  explicit Digits(const CutWindow& window) noexcept
      : low_(L::all(static_cast<std::uint32_t>(window.low()))),
        shift_(_mm_cvtsi32_si128(static_cast<int>(window.shift()))) {}

  // Of 32 elements.
  PRUNEPACK_INLINE __m256i of(const std::uint32_t* from) const noexcept {
    __m256i v[4];
#pragma GCC unroll 4
    for (std::size_t r = 0; r < 4; ++r) {
      // Keys have a spare bit, so the difference does not wrap.
      const __m256i past_low = L::sub(Ordered<Float32>::load(from + 8 * r), low_);
      v[r] = _mm256_sra_epi32(past_low, shift_);
    }
    const __m256i bytes =
        _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  }

 private:
  using L = Lanes<4>;

  __m256i low_;
  __m128i shift_;
};

// At most so many words, because the lanes that count are bytes.
class ByDigits : DigitGroups<ByDigits, std::uint32_t, 255 * kStep> {
  using Groups = DigitGroups<ByDigits, std::uint32_t, 255 * kStep>;
  friend Groups;

 public:
  using Groups::Bits, Groups::kMost;

  // 0 < n < m <= kMost.
  static void mask(const Bits* in, std::size_t groups, std::size_t n, std::size_t m,
                   std::uint8_t* mask) noexcept {
    ByDigits by(n, m);
    BitStream out(mask);
    for (std::size_t g = 0; g < groups; ++g) {
      by.decide(in + g * m);
      if (m % 8 == 0) {
        std::memcpy(mask + g * (m / 8), by.kept_, m / 8);
      } else {
        by.append_to(out);
      }
    }
    if (m % 8 != 0) out.finish();
  }

 private:
  using Groups::Groups;

  PRUNEPACK_INLINE void write_digits(const Bits* group, const CutWindow& window) noexcept {
    const Digits digits(window);
    std::size_t i = 0;
    for (; i + kStep <= m_; i += kStep) store(digits_ + i, digits.of(group + i));
    if (i < m_) {
      const LastStep<Bits> last(group + i, m_ - i);
      store(digits_ + i, digits.of(last.elements));
      std::memset(digits_ + m_, 0x80, words_ * kStep - m_);  // below everything
    }
  }

  // The highest digit that enough weights have or are above. What comes next is fetched meanwhile.
  PRUNEPACK_INLINE unsigned digit_of_cut(const Bits* group) const noexcept {
    const auto most_below = static_cast<int>(words_ * kStep - to_keep_);
    const __m256i too_many = _mm256_set1_epi32(most_below + 1);
    const std::size_t own = m_ * sizeof(Bits);
    const std::size_t part = (own / CutWindow::kDigitBits / kFetched + 1) * kFetched;
    const void* ahead = group + m_;
    __m256i cut = _mm256_setzero_si256();
#pragma GCC unroll 1
    for (unsigned bit = CutWindow::kDigitBits; bit > 0;) {
      const __m256i one = _mm256_set1_epi8(static_cast<char>(1 << --bit));
      const __m256i digit = _mm256_add_epi8(cut, one);
      fetch<Cache::l1>(ahead, part);
      ahead = moved(ahead, part);
      __m256i below = _mm256_setzero_si256();
      for (std::size_t w = 0; w < words_; ++w) {
        below = _mm256_sub_epi8(below, _mm256_cmpgt_epi8(digit, load(digits_ + w * kStep)));
      }
      // In vectors to the end: each bit waits for the one before it.
      __m256i sum = _mm256_sad_epu8(below, _mm256_setzero_si256());
      sum = _mm256_add_epi32(sum, _mm256_permute4x64_epi64(sum, 0x4e));
      sum = _mm256_add_epi32(sum, _mm256_shuffle_epi32(sum, 0x4e));
      const __m256i are_few = _mm256_cmpgt_epi32(too_many, _mm256_shuffle_epi32(sum, 0xa0));
      cut = _mm256_add_epi8(cut, _mm256_and_si256(are_few, one));
    }
    return static_cast<unsigned>(_mm256_cvtsi256_si32(cut)) & 0xff;
  }

  PRUNEPACK_INLINE Counted mark(unsigned digit) noexcept {
    const __m256i cut = _mm256_set1_epi8(static_cast<char>(digit));
    Counted counted{0, 0};
    for (std::size_t w = 0; w < words_; ++w) {
      const __m256i digits = load(digits_ + w * kStep);
      const __m256i above[1] = {_mm256_cmpgt_epi8(digits, cut)};
      const __m256i tied[1] = {_mm256_cmpeq_epi8(digits, cut)};
      kept_[w] = signs(above);
      tied_[w] = signs(tied);
      counted.above += popcount(kept_[w]);
      counted.tied += popcount(tied_[w]);
    }
    return counted;
  }

  PRUNEPACK_INLINE void keep_last(std::size_t count) noexcept {
    for (std::size_t w = words_; count > 0;) {
      --w;
      const std::size_t here = popcount(tied_[w]), kept = here < count ? here : count;
      const std::uint64_t pruned = _pdep_u64((std::uint64_t{1} << (here - kept)) - 1, tied_[w]);
      kept_[w] |= tied_[w] & ~static_cast<std::uint32_t>(pruned);
      count -= kept;
    }
  }
};

}  // namespace
}  // namespace prunepack::avx2
