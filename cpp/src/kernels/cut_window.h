// Where the cuts of many large groups of weights are looked for. In an unnamed namespace; key.h
// says why.
#pragma once

#include <cstddef>
#include <cstdint>

#include "key.h"
#include "threshold_search.h"

namespace prunepack {
namespace {

// A range of keys, in equal parts that have a digit each.
class CutWindow {
 public:
  static constexpr unsigned kDigitBits = 6;  // so few that digits beyond it fit a byte, too

  CutWindow(std::uint64_t low, std::uint64_t high) noexcept : low_(low) {
    while ((high - low) >> shift_ >> kDigitBits != 0) ++shift_;
  }

  // The digit of a key is its distance from this one, without the last bits.
  std::uint64_t low() const noexcept { return low_; }
  unsigned shift() const noexcept { return shift_; }

  CutWindow of_digit(unsigned digit) const noexcept {
    const std::uint64_t low = low_ + (std::uint64_t{digit} << shift_);
    return {low, low + (std::uint64_t{1} << shift_) - 1};
  }

 private:
  std::uint64_t low_;
  unsigned shift_ = 0;
};

// Neighbours are alike: a cut is probably where those before it were, or a little beyond.
class CutForecast {
 public:
  explicit CutForecast(std::uint64_t highest) noexcept : all_(0, highest), next_(all_) {
    begin_again();
  }

  const CutWindow& everywhere() const noexcept { return all_; }
  const CutWindow& next() const noexcept { return next_; }

  void saw(std::uint64_t cut) noexcept {
    lowest_ = cut < lowest_ ? cut : lowest_;
    highest_ = cut > highest_ ? cut : highest_;
    if (++seen_ < enough_) return;
    // The fewer were seen, the further the next ones may be away.
    const std::uint64_t beyond = (highest_ - lowest_) * 4 / seen_ + 1;
    next_ = CutWindow(lowest_ > beyond ? lowest_ - beyond : 0, highest_ + beyond);
    if (enough_ < kMostSeen) enough_ *= 2;
    begin_again();
  }

 private:
  static constexpr std::size_t kMostSeen = 16;

  void begin_again() noexcept {
    seen_ = 0;
    lowest_ = ~std::uint64_t{0};
    highest_ = 0;
  }

  CutWindow all_, next_;
  std::size_t seen_, enough_ = 2;
  std::uint64_t lowest_, highest_;  // of those seen
};

// The few weights that a cut is among.
template <class Bits>
class Few {
 public:
  static constexpr std::size_t kMost = 16;

  void add(Bits key, std::size_t place) noexcept {
    keys_[count_] = key;
    places_[count_++] = place;
  }

  // The place of the largest, of equal ones of the last, which is not among them any more.
  std::size_t take_largest() noexcept {
    std::size_t largest = 0;
    for (std::size_t i = 1; i < count_; ++i) {
      if (keys_[i] >= keys_[largest]) largest = i;
    }
    const std::size_t place = places_[largest];
    --count_;
    for (std::size_t i = largest; i < count_; ++i) {
      keys_[i] = keys_[i + 1];
      places_[i] = places_[i + 1];
    }
    return place;
  }

 private:
  Bits keys_[kMost];
  std::size_t places_[kMost], count_ = 0;
};

// Decides groups of up to `most` float32 by the digits of their keys. An ISA derives from it, reads
// the digits as many at once as a Word has bits, and has
//   write_digits(group, window), to digits_; what fills up the last word is below every digit;
//   digit_of_cut(group), the highest digit that to_keep_ weights have or are above;
//   mark(digit), which writes kept_, what is above it, and tied_, what has it, and counts both;
//   keep_last(count), of the tied.
template <class Isa, class Word, std::size_t most>
class DigitGroups {
 public:
  using Bits = std::uint32_t;
  static constexpr std::size_t kMost = most;

 protected:
  static constexpr std::size_t kWord = 8 * sizeof(Word);

  // 0 < n < m <= most.
  DigitGroups(std::size_t n, std::size_t m) noexcept
      : m_(m), to_keep_(m - n), words_((m + kWord - 1) / kWord) {}

  template <class Out>
  void append_to(Out& out) const noexcept {
    for (std::size_t w = 0; w < words_; ++w) {
      const std::size_t left = m_ - w * kWord;
      out.append(kept_[w], left < kWord ? left : kWord);
    }
  }

  // Writes kept_.
  void decide(const Bits* group) noexcept {
    auto& isa = static_cast<Isa&>(*this);
    for (CutWindow window = cuts_.next();;) {
      isa.write_digits(group, window);
      const unsigned digit = isa.digit_of_cut(group);
      const Counted counted = isa.mark(digit);
      const CutWindow narrower = window.of_digit(digit);
      const std::size_t missing = to_keep_ - counted.above;
      if (counted.above >= to_keep_ || counted.tied < missing) {
        window = cuts_.everywhere();
      } else if (window.shift() > 0 && counted.tied > Few<Bits>::kMost) {
        window = narrower;
      } else {
        if (window.shift() > 0) {
          keep_largest(group, missing);
        } else {
          isa.keep_last(missing);
        }
        return cuts_.saw(narrower.low());
      }
    }
  }

  std::size_t m_, to_keep_, words_;
  CutForecast cuts_{Float32::kMaxKey};
  alignas(kWord) std::uint8_t digits_[most];
  Word kept_[most / kWord], tied_[most / kWord];

 private:
  // Of the tied, which are few.
  void keep_largest(const Bits* group, std::size_t count) noexcept {
    Few<Bits> few;
    for (std::size_t w = 0; w < words_; ++w) {
      for (Word tied = tied_[w]; tied != 0; tied &= tied - 1) {
        const std::size_t place = w * kWord + static_cast<std::size_t>(__builtin_ctzll(tied));
        few.add(Float32::key(group[place]), place);
      }
    }
    for (; count > 0; --count) {
      const std::size_t place = few.take_largest();
      kept_[place / kWord] |= Word{1} << place % kWord;
    }
  }
};

}  // namespace
}  // namespace prunepack
