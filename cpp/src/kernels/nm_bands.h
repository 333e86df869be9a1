// nm_bands, the same for all ISAs: what differs is how weights are compared.
//
// The elements of a group are `columns` apart, so one comparison of all weights with those
// `columns` further on compares the neighbours of all groups, whatever their width: no lane is
// idle and nothing is moved. From there on it is arithmetic on bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fetch_ahead.h"
#include "key.h"
#include "prunepack/kernels.h"

namespace prunepack {
namespace {

// A run of bits, with zeros in front.
class BlockBits {
 public:
  static constexpr std::size_t kWords = kWidestBand / 2;  // eight bands of the largest kind

  std::uint64_t* words() noexcept { return words_ + kBefore; }
  std::uint64_t word(std::size_t i) const noexcept { return words_[kBefore + i]; }

  // Word i of the bits moved up by `distance`.
  std::uint64_t moved(std::size_t i, std::size_t distance) const noexcept {
    const std::uint64_t* const from = words_ + kBefore - distance / 64 + i;
    // In two steps, because 64 is too far to shift at once.
    return from[0] << distance % 64 | from[-1] >> 1 >> (63 - distance % 64);
  }

 private:
  static constexpr std::size_t kBefore = (kTallestBand - 1) * kWidestBand / 64 + 1;
  alignas(64) std::uint64_t words_[kBefore + kWords] = {};
};

// Compare is of one ISA and one kind of element. Its Word has a bit for each of kStep weights.
template <class Compare, std::size_t m>
class Bands {
 public:
  using Bits = typename Compare::Bits;

  Bands(std::size_t columns, std::size_t n) noexcept : columns_(columns), n_(n) {
    // Whole bytes of mask, and as many as fit.
    bands_at_once_ = kMostElements / (8 * m * columns) * 8;
    for (std::size_t band = 0; band < bands_at_once_; ++band) {
      const std::size_t first = band * m * columns;
      const std::uint64_t row = ~std::uint64_t{0} >> (64 - columns);
      std::uint64_t* const word = first_rows_[0].words() + first / 64;
      word[0] |= row << first % 64;
      if (first % 64 + columns > 64) word[1] |= row >> (64 - first % 64);
    }
    for (std::size_t more = 1; more < m - 1; ++more) {
      for (std::size_t i = 0; i < BlockBits::kWords; ++i) {
        first_rows_[more].words()[i] =
            first_rows_[more - 1].word(i) | first_rows_[0].moved(i, more * columns);
      }
    }
  }

  void write(const Bits* weights, std::size_t bands, std::uint8_t* mask) noexcept {
    const std::size_t block = bands_at_once_ * m * columns_;
    for (std::size_t left = bands * m * columns_; left > 0;) {
      const std::size_t count = left < block ? left : block;
      if (left < count + kBeyond) {
        Bits last[kMostElements + kBeyond];
        std::memcpy(last, weights, left * sizeof(Bits));
        std::memset(last + left, 0, (count + kBeyond - left) * sizeof(Bits));
        compare(last, count);
      } else {
        compare(weights, count);
      }
      write_bits(count, mask);
      left -= count;
      weights += count;
      mask += count / 8;
    }
  }

 private:
  static constexpr std::size_t kMostElements = BlockBits::kWords * 64;
  // What is compared last, and what it is compared with.
  static constexpr std::size_t kBeyond = Compare::kStep + (m - 1) * kWidestBand;

  // For each weight, whether it beats the ones 1 to m - 1 rows further on.
  void compare(const Bits* weights, std::size_t count) noexcept {
    using Word = typename Compare::Word;
    for (std::size_t i = 0; i < count; i += Compare::kStep) {
      fetch_ahead<Compare::kStep * sizeof(Bits)>(weights + i);
      const Compare earlier(weights + i);
      Word beats[m - 1];
#pragma GCC unroll 4
      for (std::size_t rows = 1; rows < m; ++rows) {
        beats[rows - 1] = earlier.beats(weights + i + rows * columns_);
      }
#pragma GCC unroll 4
      for (std::size_t rows = 1; rows < m; ++rows) {
        auto* const to = reinterpret_cast<std::uint8_t*>(beats_[rows - 1].words());
        std::memcpy(to + i / 8, &beats[rows - 1], sizeof(Word));
      }
    }
  }

  void write_bits(std::size_t count, std::uint8_t* mask) noexcept {
    std::uint64_t kept[BlockBits::kWords];
    const std::size_t words = (count + 63) / 64;
    if (n_ == 1) {
      keep<1>(words, kept);
    } else if (n_ == 2) {
      keep<2>(words, kept);
    } else {
      keep<3>(words, kept);
    }
    if (count % 64 != 0) kept[words - 1] &= ~(~std::uint64_t{0} << count % 64);
    std::memcpy(mask, kept, (count + 7) / 8);
  }

  // What beats at least n others of its group is kept.
  template <std::size_t n>
  void keep(std::size_t words, std::uint64_t* kept) const noexcept {
    for (std::size_t i = 0; i < words; ++i) {
      const std::uint64_t a = beats_one<1>(i), b = beats_one<2>(i), c = beats_one<3>(i);
      if constexpr (n == 1) kept[i] = a | b | c;
      if constexpr (n == 2) kept[i] = (a & b) | (c & (a | b));
      if constexpr (n == 3) kept[i] = a & b & c;
    }
  }

  // Whether each weight beats the one `turn` places on in its group, where the first follows the
  // last: one further on, or one before it, which it beats if that does not beat it.
  template <std::size_t turn>
  std::uint64_t beats_one(std::size_t i) const noexcept {
    if constexpr (turn >= m) {
      return 0;
    } else {
      const std::uint64_t has_later = first_rows_[m - 1 - turn].word(i);
      const std::uint64_t earlier_wins = beats_[m - turn - 1].moved(i, (m - turn) * columns_);
      return (beats_[turn - 1].word(i) & has_later) | ~(earlier_wins | has_later);
    }
  }

  std::size_t columns_, n_, bands_at_once_;
  BlockBits beats_[m - 1], first_rows_[m - 1];  // of the first 1, 2, ... rows of every band
};

template <class Compare>
void write_bands(const void* weights, std::size_t bands, std::size_t columns, std::size_t n,
                 std::size_t m, std::uint8_t* mask) noexcept {
  if (n == 0 || n == m) return fill_bits(mask, bands * m * columns, n == 0);
  const auto* in = static_cast<const typename Compare::Bits*>(weights);
  if (m == 2) return Bands<Compare, 2>(columns, n).write(in, bands, mask);
  if (m == 3) return Bands<Compare, 3>(columns, n).write(in, bands, mask);
  Bands<Compare, 4>(columns, n).write(in, bands, mask);
}

}  // namespace
}  // namespace prunepack
