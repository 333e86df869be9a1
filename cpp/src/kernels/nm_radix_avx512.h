// n:m masks for groups of 33 weights and more, AVX-512: bit by bit from the top of the keys, those
// that have the bit come before those that do not. No branch depends on the weights, but for the
// end, so several groups are on their way at once.
#pragma once

#include "avx512.h"
#include "mask_writer_avx512.h"

namespace prunepack::avx512 {
namespace {

// What is known of a group of up to kWords * 64 weights: of those that are left, which are neither
// known to be kept nor known to be pruned, `to_keep_` will be kept.
template <std::size_t kWords>
class Undecided {
 public:
  // Those that are `inside` are left, and those `above` kept. Whether that can be so.
  bool begin(const std::uint64_t (&inside)[kWords], const std::uint64_t (&above)[kWords],
             std::size_t kept) noexcept {
    std::size_t count = 0;
#pragma GCC unroll 4
    for (std::size_t w = 0; w < kWords; ++w) {
      left_[w] = inside[w];
      count += popcount(above[w]);
    }
    to_keep_ = kept - count;
    return count < kept && to_keep_ <= count_left();
  }

  // `ones` are those that have the next bit of their keys. Returns all ones if they are too few:
  // then they are all kept and the others are left. Else only they are left.
  [[gnu::always_inline]] std::uint64_t decide(const std::uint64_t (&ones)[kWords]) noexcept {
    std::uint64_t with[kWords];
    std::size_t count = 0;
#pragma GCC unroll 4
    for (std::size_t w = 0; w < kWords; ++w) {
      with[w] = left_[w] & ones[w];
      count += popcount(with[w]);
    }
    const std::uint64_t too_few = -static_cast<std::uint64_t>(count < to_keep_);
#pragma GCC unroll 4
    for (std::size_t w = 0; w < kWords; ++w) left_[w] = with[w] ^ (left_[w] & too_few);
    to_keep_ -= count & too_few;
    return too_few;
  }

  bool is_decided() const noexcept { return count_left() == to_keep_; }

  // Takes the first ones of what is left out of words of what is kept or left.
  void prune_first(std::uint64_t (&words)[kWords]) const noexcept {
    std::size_t to_prune = count_left() - to_keep_;
#pragma GCC unroll 4
    for (std::size_t w = 0; w < kWords; ++w) {
      const std::size_t here = popcount(left_[w]), pruned = here < to_prune ? here : to_prune;
      to_prune -= pruned;
      words[w] &= ~_pdep_u64(first_bits(pruned), left_[w]);  // the lowest of the bits that are set
    }
  }

 private:
  std::size_t count_left() const noexcept {
    std::size_t count = 0;
#pragma GCC unroll 4
    for (std::size_t w = 0; w < kWords; ++w) count += popcount(left_[w]);
    return count;
  }

  std::uint64_t left_[kWords];
  std::size_t to_keep_;
};

// How many of the low bits of a threshold differ from group to group: neighbours are alike, so the
// others need not be found again. Looked at over some groups, to change seldom.
class LowBits {
 public:
  explicit LowBits(int all) noexcept : all_(all), now_(all) {}
  int now() const noexcept { return now_; }
  void saw(std::uint64_t threshold, std::uint64_t other) noexcept {
    const int differ = 64 - static_cast<int>(_lzcnt_u64(threshold ^ other));
    if (differ > most_) most_ = differ;
    if (most_ > now_) now_ = most_;
    if (++seen_ % kWindow == 0) {
      now_ = most_;
      most_ = 0;
    }
  }
  void missed() noexcept { now_ = all_; }

 private:
  static constexpr unsigned kWindow = 32;
  int all_, now_, most_ = 0;
  unsigned seen_ = 0;
};

// Groups of more than (kWords - 1) * 64 weights, up to kWords * 64.
template <class E, std::size_t kWords>
class ByRadix {
 public:
  using Bits = typename E::Bits;

  static void mask(const void* weights, std::size_t groups, std::size_t n, std::size_t m,
                   std::uint8_t* mask) noexcept {
    const auto* in = static_cast<const Bits*>(weights);
    ByRadix radix(n, m, mask);
    std::size_t g = 0;
    for (; g + kAtOnce <= groups; g += kAtOnce) radix.step<kAtOnce>(in + g * m);
    for (; g < groups; ++g) radix.step<1>(in + g * m);
    radix.out_.finish();
  }

 private:
  using Width = LanesOf<Bits>;
  // As many groups as the registers hold, so that one is worked on while another is waited for.
  static constexpr std::size_t kAtOnce = 4 / kWords;
  static constexpr int kKeyBits =
      E::kMaxKey == static_cast<Bits>(~Bits{0}) ? E::kBits : E::kBits - 1;
  // To begin with known bits costs as much as to find three.
  static constexpr int kWorthKnowing = 4;
  // After so many bits it is worth while to look whether all is decided.
  static constexpr int kBitsAtOnce = 4;

  struct Group {
    Run64<Bits> keys[kWords];
    Undecided<kWords> state;
    std::uint64_t threshold;  // the bits found so far of the smallest key that is kept
  };

  ByRadix(std::size_t n, std::size_t m, std::uint8_t* mask) noexcept
      : m_(m), kept_(m - n), out_(mask) {}

  template <std::size_t kGroups>
  [[gnu::always_inline]] void step(const Bits* in) noexcept {
    Group groups[kGroups];
#pragma GCC unroll 4
    for (std::size_t g = 0; g < kGroups; ++g) load(in + g * m_, groups[g].keys);
    for (int bits = begin(groups); bits > 0;) {
      const int last = bits > kBitsAtOnce ? bits - kBitsAtOnce : 0;
      while (bits > last) decide_bit(groups, --bits);
      bool decided = true;
#pragma GCC unroll 4
      for (std::size_t g = 0; g < kGroups; ++g) decided &= groups[g].state.is_decided();
      if (decided) break;
    }
#pragma GCC unroll 4
    for (std::size_t g = 0; g < kGroups; ++g) finish(groups[g]);
  }

  [[gnu::always_inline]] void load(const Bits* in, Run64<Bits> (&keys)[kWords]) const noexcept {
#pragma GCC unroll 4
    for (std::size_t w = 0; w < kWords; ++w) {
      const Bits* const from = in + 64 * w;
      const auto run = w + 1 < kWords || m_ == 64 * kWords ? Run64<Bits>::load(from)
                                                           : Run64<Bits>::load(from, m_ - 64 * w);
      keys[w] = run.template keys<E>();
    }
  }

  // Returns how many bits are to be found.
  template <std::size_t kGroups>
  [[gnu::always_inline]] int begin(Group (&groups)[kGroups]) noexcept {
    const int low_bits = low_bits_.now();
    if (kKeyBits - low_bits >= kWorthKnowing) {
      const std::uint64_t first = threshold_ >> low_bits << low_bits;
      const std::uint64_t end = first + (std::uint64_t{1} << low_bits);
      bool possible = true;
#pragma GCC unroll 4
      for (std::size_t g = 0; g < kGroups; ++g) {
        std::uint64_t inside[kWords], above[kWords];
#pragma GCC unroll 4
        for (std::size_t w = 0; w < kWords; ++w) {
          above[w] = at_least(groups[g].keys[w], end);
          inside[w] = at_least(groups[g].keys[w], first) & ~above[w] & valid(w);
        }
        possible &= groups[g].state.begin(inside, above, kept_);
        groups[g].threshold = first;
      }
      if (possible) return low_bits;
      low_bits_.missed();
    }
#pragma GCC unroll 4
    for (std::size_t g = 0; g < kGroups; ++g) {
      std::uint64_t all[kWords];
      const std::uint64_t none[kWords] = {};
#pragma GCC unroll 4
      for (std::size_t w = 0; w < kWords; ++w) all[w] = valid(w);
      groups[g].state.begin(all, none, kept_);
      groups[g].threshold = 0;
    }
    return kKeyBits;
  }

  template <std::size_t kGroups>
  [[gnu::always_inline]] static void decide_bit(Group (&groups)[kGroups], int bit) noexcept {
    const __m512i wanted = Width::all(std::uint64_t{1} << bit);
#pragma GCC unroll 4
    for (std::size_t g = 0; g < kGroups; ++g) {
      std::uint64_t ones[kWords];
#pragma GCC unroll 4
      for (std::size_t w = 0; w < kWords; ++w) {
        ones[w] = where(groups[g].keys[w], [&](__m512i x) { return Width::has_bits(x, wanted); });
      }
      groups[g].threshold |= std::uint64_t{1} << bit & ~groups[g].state.decide(ones);
    }
  }

  [[gnu::always_inline]] void finish(const Group& group) noexcept {
    std::uint64_t words[kWords];
#pragma GCC unroll 4
    for (std::size_t w = 0; w < kWords; ++w) words[w] = at_least(group.keys[w], group.threshold);
    group.state.prune_first(words);
#pragma GCC unroll 4
    for (std::size_t w = 0; w < kWords; ++w) {
      out_.append(words[w] & valid(w), w + 1 < kWords ? 64 : m_ - 64 * w);
    }
    low_bits_.saw(group.threshold, threshold_);
    threshold_ = group.threshold;
  }

  // The elements of word w of a group.
  std::uint64_t valid(std::size_t w) const noexcept {
    return w + 1 < kWords ? ~std::uint64_t{0} : first_bits(m_ - 64 * w);
  }

  [[gnu::always_inline]] static std::uint64_t at_least(const Run64<Bits>& keys,
                                                       std::uint64_t key) noexcept {
    const __m512i bound = Width::all(key);
    return where(keys, [&](__m512i x) { return Width::at_least(x, bound); });
  }

  std::size_t m_, kept_;
  MaskWriter out_;
  std::uint64_t threshold_ = 0;
  LowBits low_bits_{kKeyBits};
};

}  // namespace
}  // namespace prunepack::avx512
