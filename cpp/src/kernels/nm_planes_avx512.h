// n:m masks for groups of 33 to 512 weights, AVX-512: eight groups at once, a lane each, bit by bit
// from the top of the keys. Those that have the bit come before those that do not.
//
// No branch depends on the weights but the one that asks whether all is decided, after every byte.
#pragma once

#include "avx512.h"
#include "bit_planes_avx512.h"
#include "fetch_ahead.h"
#include "mask_writer_avx512.h"

namespace prunepack::avx512 {
namespace {

// What is known of eight groups of up to kWords * 64 weights: some weights are kept, and of those
// that are left, which are neither known to be kept nor known to be pruned, to_keep_ will be.
template <std::size_t kWords>
class Undecided {
 public:
  // `valid(w)` are the weights of word w.
  template <class Valid>
  [[gnu::always_inline]] void begin(std::size_t kept, const Valid& valid) noexcept {
    to_keep_ = _mm512_set1_epi64(static_cast<long long>(kept));
#pragma GCC unroll 8
    for (std::size_t w = 0; w < kWords; ++w) {
      left_[w] = valid(w);
      kept_[w] = _mm512_setzero_si512();
    }
  }

  // `plane(w)` has the next bit of word w of every group. Where those that have it are too few,
  // they are all kept and the others are left; elsewhere only they are left.
  template <class Plane>
  [[gnu::always_inline]] void decide(const Plane& plane) noexcept {
    __m512i count = _mm512_setzero_si512();
#pragma GCC unroll 8
    for (std::size_t w = 0; w < kWords; ++w) {
      const __m512i with = _mm512_and_si512(left_[w], plane(w));
      count = _mm512_add_epi64(count, _mm512_popcnt_epi64(with));
    }
    // All ones where the difference is negative. No mask registers: each step waits for the one
    // before, and with those it would wait longer.
    const __m512i too_few = _mm512_srai_epi64(_mm512_sub_epi64(count, to_keep_), 63);
    to_keep_ = _mm512_sub_epi64(to_keep_, _mm512_and_si512(count, too_few));
#pragma GCC unroll 8
    for (std::size_t w = 0; w < kWords; ++w) {
      const __m512i with = _mm512_and_si512(left_[w], plane(w));
      kept_[w] = _mm512_ternarylogic_epi64(kept_[w], with, too_few, 0xf8);      // k | (w & f)
      left_[w] = _mm512_ternarylogic_epi64(left_[w], plane(w), too_few, 0x60);  // l & (p ^ f)
    }
  }

  // Whether in every group all that are left will be kept.
  [[gnu::always_inline]] bool is_decided() const noexcept {
    __m512i count = _mm512_setzero_si512();
#pragma GCC unroll 8
    for (std::size_t w = 0; w < kWords; ++w) {
      count = _mm512_add_epi64(count, _mm512_popcnt_epi64(left_[w]));
    }
    return _mm512_cmpgt_epu64_mask(count, to_keep_) == 0;
  }

  [[gnu::always_inline]] __m512i kept(std::size_t w) const noexcept {
    return _mm512_or_si512(kept_[w], left_[w]);
  }

 private:
  __m512i left_[kWords], kept_[kWords], to_keep_;
};

// Groups of up to kWords * 64 weights.
template <class E, std::size_t kWords>
class ByPlanes {
 public:
  using Bits = typename E::Bits;

  // 0 < n < m.
  static void mask(const void* weights, std::size_t groups, std::size_t n, std::size_t m,
                   std::uint8_t* mask) noexcept {
    const auto* in = static_cast<const Bits*>(weights);
    const ByPlanes planes(n, m);
    __m512i words[kSets][kWords];
    if (m == 64) {
      for (; groups >= kGroups; groups -= kGroups, in += kGroups * m, mask += kGroups * m / 8) {
        planes.step(in, kGroups, words);
        for (std::size_t s = 0; s < kSets; ++s) _mm512_storeu_si512(mask + 64 * s, words[s][0]);
      }
    }
    MaskWriter out(mask);
    for (std::size_t some; groups > 0; groups -= some, in += some * m) {
      some = groups < kGroups ? groups : kGroups;
      planes.step(in, some, words);
      planes.append(words, some, out);
    }
    out.finish();
  }

 private:
  // Sets of eight groups, a lane each. One set of small groups would mostly wait for itself.
  static constexpr std::size_t kSet = 8, kSets = kWords == 1 ? 2 : 1, kGroups = kSets * kSet;
  static constexpr bool kHasSign = E::kMaxKey != static_cast<Bits>(~Bits{0});
  using State = Undecided<kWords>;

  ByPlanes(std::size_t n, std::size_t m) noexcept : m_(m), kept_(m - n) {}

  // The masks of up to kGroups groups.
  [[gnu::always_inline]] void step(const Bits* in, std::size_t groups,
                                   __m512i (&masks)[kSets][kWords]) const noexcept {
    State states[kSets];
    for (std::size_t s = 0; s < kSets; ++s) {
      const auto lanes = static_cast<__mmask8>((1u << groups_of_set(s, groups)) - 1);
      states[s].begin(kept_, [&](std::size_t w) {
        const auto own = static_cast<long long>(first_bits(own_in_word(w)));
        return BitPlanes::reversed(_mm512_maskz_set1_epi64(lanes, own));
      });
    }
    bool decided = false;
#pragma GCC unroll 1
    for (std::size_t byte = sizeof(Bits); byte > 0 && !decided;) {
      decide_byte(in, groups, --byte, states);
      decided = states[0].is_decided() && states[kSets - 1].is_decided();
    }
    if (!decided) decide_by_place(states);
    for (std::size_t s = 0; s < kSets; ++s) {
      for (std::size_t w = 0; w < kWords; ++w) {
        masks[s][w] = BitPlanes::reversed(states[s].kept(w));
      }
    }
  }

  static std::size_t groups_of_set(std::size_t set, std::size_t groups) noexcept {
    const std::size_t left = groups > set * kSet ? groups - set * kSet : 0;
    return left < kSet ? left : kSet;
  }

  [[gnu::always_inline]] void decide_byte(const Bits* in, std::size_t groups, std::size_t byte,
                                          State (&states)[kSets]) const noexcept {
    __m512i planes[kSets][kWords][8];
    const KeyBytes<E> bytes(byte);
#pragma GCC unroll 1
    for (std::size_t i = 0; i < kSets * kWords; ++i) {
      const std::size_t s = i / kWords, w = i % kWords;
      make_planes(in + s * kSet * m_ + 64 * w, groups_of_set(s, groups), own_in_word(w), bytes,
                  planes[s][w]);
    }
    const bool is_first = byte + 1 == sizeof(Bits);
    const std::size_t own = kGroups * m_ * sizeof(Bits);
    Ahead ahead(moved(in, own), is_first ? own : 0);
#pragma GCC unroll 1
    for (std::size_t plane = kHasSign && is_first ? 7 : 8; plane > 0;) {
      --plane;
      ahead.fetch_part();
#pragma GCC unroll 2
      for (std::size_t s = 0; s < kSets; ++s) {
        states[s].decide([&](std::size_t w) { return planes[s][w][plane]; });
      }
    }
  }

  // What the next step looks at. The processor does not see it coming, because of the order in
  // which it is looked at; fetched all at once it would be in the way.
  class Ahead {
   public:
    Ahead(const void* from, std::size_t bytes) noexcept
        : at_(from), part_((bytes / 64 + 7) / 8 * 64) {}
    void fetch_part() noexcept {
      fetch<Cache::l1>(at_, part_);
      at_ = moved(at_, part_);
    }

   private:
    const void* at_;
    std::size_t part_;  // an eighth, in whole lines
  };

  // What comes later in its group comes before what is equal to it.
  [[gnu::always_inline]] void decide_by_place(State (&states)[kSets]) const noexcept {
    for (std::size_t bit = kWords / 2; bit > 0; bit /= 2) {
      for (State& state : states) {
        state.decide([&](std::size_t w) { return _mm512_set1_epi64((w & bit) != 0 ? -1 : 0); });
      }
    }
    for (const std::uint64_t places : kPlaces) {
      const __m512i plane = _mm512_set1_epi64(static_cast<long long>(places));
      for (State& state : states) state.decide([&](std::size_t) { return plane; });
    }
  }
  // Of the number of an element in its word: the bits of each byte are reversed.
  static constexpr std::uint64_t kPlaces[] = {0xffffffff00000000, 0xffff0000ffff0000,
                                              0xff00ff00ff00ff00, 0x0f0f0f0f0f0f0f0f,
                                              0x3333333333333333, 0x5555555555555555};

  // planes[b]: bit b of a byte of up to 64 keys of every group.
  [[gnu::always_inline]] void make_planes(const Bits* in, std::size_t groups, std::size_t own,
                                          const KeyBytes<E>& bytes,
                                          __m512i (&to)[8]) const noexcept {
    __m512i planes[8];
#pragma GCC unroll 8
    for (std::size_t g = 0; g < kSet; ++g) {
      const std::size_t count = g < groups ? own : 0;
      const Bits* const from = count > 0 ? in + g * m_ : in;
      planes[g] = bytes.of(count == 64 ? Run64<Bits>::load(from) : Run64<Bits>::load(from, count));
    }
    planes_.transpose(planes);
#pragma GCC unroll 8
    for (std::size_t b = 0; b < 8; ++b) to[b] = planes[b];
  }

  // How many weights of a group are in word w.
  [[gnu::always_inline]] std::size_t own_in_word(std::size_t w) const noexcept {
    const std::size_t left = m_ > 64 * w ? m_ - 64 * w : 0;
    return left < 64 ? left : 64;
  }

  void append(const __m512i (&words)[kSets][kWords], std::size_t groups,
              MaskWriter& out) const noexcept {
    alignas(64) std::uint64_t masks[kSets][kWords][kSet];
    std::memcpy(masks, words, sizeof masks);
    for (std::size_t g = 0; g < groups; ++g) {
      for (std::size_t w = 0; 64 * w < m_; ++w) {
        out.append(masks[g / kSet][w][g % kSet], own_in_word(w));
      }
    }
  }

  std::size_t m_, kept_;
  BitPlanes planes_;
};

}  // namespace
}  // namespace prunepack::avx512
