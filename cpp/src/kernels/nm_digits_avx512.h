// n:m masks for groups of 513 to 8192 float32, AVX-512: a window of keys around the cut is divided
// into 64 digits, a byte for every key, and the digit of the cut is found by counting, bit by bit.
#pragma once

#include "avx512.h"
#include "cut_window.h"
#include "fetch_ahead.h"
#include "mask_writer_avx512.h"
#include "threshold_search.h"

namespace prunepack::avx512 {
namespace {

// The digits of keys: negative below the window, and beyond the highest digit above it.
class Digits {
 public:
  explicit Digits(const CutWindow& window) noexcept
      : low_(Lanes<4>::all(window.low())),
        shift_(_mm_cvtsi32_si128(static_cast<int>(window.shift()))) {
    alignas(64) std::uint32_t order[16];
    for (unsigned i = 0; i < 16; ++i) order[i] = i % 4 * 4 + i / 4;
    order_ = _mm512_load_si512(order);
  }

  // Of 64 elements.
  __m512i of(const Run64<std::uint32_t>& run) const noexcept {
    __m512i v[4];
#pragma GCC unroll 4
    for (std::size_t r = 0; r < 4; ++r) {
      // Keys have a spare bit, so the difference does not wrap.
      const __m512i past_low = Lanes<4>::sub(key_of<Float32>(run.registers[r]), low_);
      v[r] = _mm512_sra_epi32(past_low, shift_);
    }
    return _mm512_permutexvar_epi32(
        order_, _mm512_packs_epi16(_mm512_packs_epi32(v[0], v[1]), _mm512_packs_epi32(v[2], v[3])));
  }

 private:
  __m512i low_, order_;
  __m128i shift_;
};

class ByDigits : DigitGroups<ByDigits, std::uint64_t, 8192> {
  using Groups = DigitGroups<ByDigits, std::uint64_t, 8192>;
  friend Groups;

 public:
  using Groups::Bits, Groups::kMost;

  // 0 < n < m <= kMost.
  static void mask(const void* weights, std::size_t groups, std::size_t n, std::size_t m,
                   std::uint8_t* mask) noexcept {
    const auto* in = static_cast<const Bits*>(weights);
    ByDigits by(n, m);
    MaskWriter out(mask);
    for (std::size_t g = 0; g < groups; ++g) {
      by.decide(in + g * m);
      by.append_to(out);
    }
    out.finish();
  }

 private:
  using Groups::Groups;

  void write_digits(const Bits* group, const CutWindow& window) noexcept {
    const Digits digits(window);
    std::size_t i = 0;
    for (; i + 64 <= m_; i += 64) {
      _mm512_store_si512(digits_ + i, digits.of(Run64<Bits>::load(group + i)));
    }
    if (i < m_) {
      _mm512_store_si512(digits_ + i, digits.of(Run64<Bits>::load(group + i, m_ - i)));
      std::memset(digits_ + m_, 0x80, words_ * 64 - m_);  // below everything
    }
  }

  // The highest digit that enough weights have or are above. What comes next is fetched meanwhile.
  unsigned digit_of_cut(const Bits* group) const noexcept {
    const std::size_t own = m_ * sizeof(Bits);
    const std::size_t part = (own / CutWindow::kDigitBits / kFetched + 1) * kFetched;
    const void* ahead = group + m_;
    unsigned cut = 0;
#pragma GCC unroll 1
    for (unsigned one = 1u << CutWindow::kDigitBits; (one /= 2) != 0;) {
      const __m512i digit = Lanes<1>::all(cut + one);
      fetch<Cache::l1>(ahead, part);
      ahead = moved(ahead, part);
      std::size_t count = 0;
      for (std::size_t w = 0; w < words_; ++w) {
        const __m512i digits = _mm512_load_si512(digits_ + w * 64);
        count += popcount(_mm512_cmpge_epi8_mask(digits, digit));
      }
      cut += count >= to_keep_ ? one : 0;
    }
    return cut;
  }

  Counted mark(unsigned digit) noexcept {
    const __m512i cut = Lanes<1>::all(digit);
    Counted counted{0, 0};
    for (std::size_t w = 0; w < words_; ++w) {
      const __m512i digits = _mm512_load_si512(digits_ + w * 64);
      kept_[w] = _mm512_cmpgt_epi8_mask(digits, cut);
      tied_[w] = _mm512_cmpeq_epi8_mask(digits, cut);
      counted.above += popcount(kept_[w]);
      counted.tied += popcount(tied_[w]);
    }
    return counted;
  }

  void keep_last(std::size_t count) noexcept {
    for (std::size_t w = words_; count > 0;) {
      --w;
      const std::size_t here = popcount(tied_[w]), kept = here < count ? here : count;
      kept_[w] |= tied_[w] & ~_pdep_u64(first_bits(here - kept), tied_[w]);
      count -= kept;
    }
  }
};

}  // namespace
}  // namespace prunepack::avx512
