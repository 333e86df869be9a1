// Writes past the caches what is made piece by piece and begins anywhere: pieces are collected, in
// memory that stays in the L1 cache, until they are whole lines.
//
// In an unnamed namespace; key.h says why.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "prunepack/kernels.h"

namespace prunepack {
namespace {

// Steps::stream_line(from, to) copies one line past the caches. A piece is written to end(), which
// has room for `kPiece` bytes, and then added.
template <std::size_t kPiece, class Steps>
class LineWriter {
 public:
  explicit LineWriter(void* to) noexcept
      : first_(reinterpret_cast<std::uintptr_t>(to) % kLine),
        held_(first_),
        line_(static_cast<std::uint8_t*>(to) - first_) {}

  std::uint8_t* end() noexcept { return lines_ + held_; }

  void add(std::size_t bytes) noexcept {
    held_ += bytes;
    if (held_ < kLine) return;
    std::size_t line = 0;
    const std::size_t whole = held_ / kLine * kLine;
    if (first_ > 0) {
      write_begun_line(kLine);
      line = kLine;
    }
    for (; line < whole; line += kLine) Steps::stream_line(lines_ + line, line_ + line);
    std::memcpy(lines_, lines_ + whole, kLine);
    line_ += whole;
    held_ -= whole;
  }

  // What is left, which is not a whole line.
  void finish() noexcept { write_begun_line(held_); }

 private:
  static constexpr std::size_t kLine = kStreamAlignment;

  // A line that others write to as well, up to byte `end`.
  void write_begun_line(std::size_t end) noexcept {
    std::memcpy(line_ + first_, lines_ + first_, end - first_);
    first_ = 0;
  }

  std::size_t first_;   // where what is written begins in its first line; 0 once that is whole
  std::size_t held_;    // bytes collected
  std::uint8_t* line_;  // where those go
  alignas(kLine) std::uint8_t lines_[2 * kLine + kPiece];
};

// compress and compress_stream of an ISA, whose Steps have
//   kElements, how many are moved with one check of what is left of the values;
//   compress<Bits>(to, room, weights, mask, count), which returns where what is kept ends; fastest
//   with room for kElements more than there are;
//   stream_line(from, to), which copies a line past the caches;
//   order_streams(), after the last of them.
template <class Steps>
struct Compression {
  template <class Bits>
  static void to_memory(const void* weights, const std::uint8_t* mask, std::size_t count,
                        std::size_t room, void* values) noexcept {
    Steps::template compress<Bits>(static_cast<Bits*>(values), room,
                                   static_cast<const Bits*>(weights), mask, count);
  }

  // In blocks that stay in the L1 cache with what they become.
  template <class Bits>
  static void past_caches(const void* weights, const std::uint8_t* mask, std::size_t count,
                          std::size_t, void* values) noexcept {
    constexpr std::size_t kBlock = 4096 / sizeof(Bits), kRoom = kBlock + Steps::kElements;
    const auto* const in = static_cast<const Bits*>(weights);
    LineWriter<kRoom * sizeof(Bits), Steps> writer(values);
    for (std::size_t first = 0; first < count; first += kBlock) {
      const std::size_t here = count - first < kBlock ? count - first : kBlock;
      auto* const begin = reinterpret_cast<Bits*>(writer.end());
      const Bits* const end =
          Steps::template compress<Bits>(begin, kRoom, in + first, mask + first / 8, here);
      writer.add(static_cast<std::size_t>(end - begin) * sizeof(Bits));
    }
    writer.finish();
    Steps::order_streams();
  }
};

}  // namespace
}  // namespace prunepack
