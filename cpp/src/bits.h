// Runs of bits at any bit position, lowest bit of a byte first.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace prunepack {

inline bool bit_at(const std::uint8_t* bits, std::size_t i) { return bits[i / 8] >> i % 8 & 1; }

inline std::uint64_t low_bits(std::size_t count) {  // count < 64
  return (std::uint64_t{1} << count) - 1;
}

// The `count` <= 56 bits from bit `first` on. Reads no byte that does not hold one of them.
inline std::uint64_t read_bits(const std::uint8_t* bits, std::size_t first, std::size_t count) {
  std::uint64_t word = 0;
  const std::size_t shift = first % 8;
  std::memcpy(&word, bits + first / 8, (shift + count + 7) / 8);
  return word >> shift & low_bits(count);
}

// Writes bits one run after the other. Bits after the last one written, in its byte, become 0;
// bits before the first, in its byte, are kept.
class BitWriter {
 public:
  BitWriter(std::uint8_t* bits, std::size_t first)
      : out_(bits + first / 8), held_(first % 8), word_(held_ ? *out_ & low_bits(held_) : 0) {}
  BitWriter(const BitWriter&) = delete;
  BitWriter& operator=(const BitWriter&) = delete;
  ~BitWriter() { std::memcpy(out_, &word_, (held_ + 7) / 8); }

  // Appends the low `count` <= 64 bits of `bits`; the others must be 0.
  void append(std::uint64_t bits, std::size_t count) {
    word_ |= bits << held_;
    if (held_ + count < 64) {
      held_ += count;
      return;
    }
    std::memcpy(out_, &word_, sizeof word_);
    out_ += sizeof word_;
    word_ = held_ == 0 ? 0 : bits >> (64 - held_);
    held_ = held_ + count - 64;
  }

  // Appends `count` bits of `bits` from bit `first` on.
  void append(const std::uint8_t* bits, std::size_t first, std::size_t count) {
    if (held_ % 8 == 0 && first % 8 == 0) {
      copy_bytes(bits + first / 8, count / 8);
      first += count / 8 * 8;
      count %= 8;
    }
    constexpr std::size_t step = 56;
    for (; count >= 64; first += step, count -= step) {  // a word from any bit on is still inside
      std::uint64_t word;
      std::memcpy(&word, bits + first / 8, sizeof word);
      append(word >> first % 8 & low_bits(step), step);
    }
    while (count > 0) {
      const std::size_t rest = std::min(step, count);
      append(read_bits(bits, first, rest), rest);
      first += rest;
      count -= rest;
    }
  }

  // Appends `count` bits that are all `value`.
  void append_run(bool value, std::size_t count) {
    for (std::size_t step; count > 0; count -= step) {
      step = std::min<std::size_t>(count, 63);
      append(value ? low_bits(step) : 0, step);
    }
  }

 private:
  void copy_bytes(const std::uint8_t* from, std::size_t bytes) {
    std::memcpy(out_, &word_, held_ / 8);
    std::memcpy(out_ + held_ / 8, from, bytes);
    out_ += held_ / 8 + bytes;
    held_ = 0;
    word_ = 0;
  }

  std::uint8_t* out_;
  std::size_t held_;  // how many bits are in word_ and not yet in memory, fewer than 64
  std::uint64_t word_;
};

}  // namespace prunepack
