// Where the cuts of many large groups of weights are looked for. In an unnamed namespace; key.h
// says why.
#pragma once

#include <cstddef>
#include <cstdint>

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

}  // namespace
}  // namespace prunepack
