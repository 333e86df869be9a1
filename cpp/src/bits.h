// Runs of bits at any bit position, lowest bit of a byte first.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace prunepack {

inline bool bit_at(const std::uint8_t* bits, std::size_t i) { return bits[i / 8] >> i % 8 & 1; }

// The next `count` <= 57 bits from bit `first` on. Reads no byte that does not hold one of them.
inline std::uint64_t read_bits(const std::uint8_t* bits, std::size_t first, std::size_t count) {
  std::uint64_t word = 0;
  const std::size_t shift = first % 8;
  std::memcpy(&word, bits + first / 8, (shift + count + 7) / 8);
  return word >> shift & ((std::uint64_t{1} << count) - 1);
}

// Writes bits one run after the other. Bits after the last one written, in its byte, become 0;
// bits before the first, in its byte, are kept.
class BitWriter {
 public:
  BitWriter(std::uint8_t* bits, std::size_t first)
      : out_(bits + first / 8), held_(first % 8), word_(held_ ? *out_ & ((1u << held_) - 1) : 0) {}
  BitWriter(const BitWriter&) = delete;
  BitWriter& operator=(const BitWriter&) = delete;
  ~BitWriter() {
    if (held_ > 0) *out_ = static_cast<std::uint8_t>(word_);
  }

  // Appends the low `count` <= 56 bits of `bits`; the others must be 0.
  void append(std::uint64_t bits, std::size_t count) {
    word_ |= bits << held_;
    held_ += count;
    for (; held_ >= 8; held_ -= 8, word_ >>= 8) *out_++ = static_cast<std::uint8_t>(word_);
  }

  // Appends `count` bits of `bits` from bit `first` on.
  void append(const std::uint8_t* bits, std::size_t first, std::size_t count) {
    if (held_ == 0 && first % 8 == 0) {
      std::memcpy(out_, bits + first / 8, count / 8);
      out_ += count / 8;
      first += count / 8 * 8;
      count %= 8;
    }
    for (std::size_t step; count > 0; first += step, count -= step) {
      step = std::min<std::size_t>(count, 56);
      append(read_bits(bits, first, step), step);
    }
  }

 private:
  std::uint8_t* out_;
  std::size_t held_;  // how many bits of *out_ are in word_, fewer than 8 between calls
  std::uint64_t word_;
};

}  // namespace prunepack
