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

// StreamLine is a function (from, to) that copies one line past the caches. A piece is written to
// end(), which has room for `kPiece` bytes, and then added.
template <std::size_t kPiece, class StreamLine>
class LineWriter {
 public:
  LineWriter(void* to, StreamLine stream_line) noexcept
      : first_(reinterpret_cast<std::uintptr_t>(to) % kLine),
        held_(first_),
        line_(static_cast<std::uint8_t*>(to) - first_),
        stream_line_(stream_line) {}

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
    for (; line < whole; line += kLine) stream_line_(lines_ + line, line_ + line);
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
  StreamLine stream_line_;
  alignas(kLine) std::uint8_t lines_[2 * kLine + kPiece];
};

// Compresses to `values` past the caches, in blocks that stay in the L1 cache with what they
// become. compress(to, room, weights, mask, count) returns where what is kept ends, and is fastest
// with room for `slack` elements more than there are.
template <std::size_t slack, class Bits, class Compress, class StreamLine>
void compress_by_lines(const Bits* weights, const std::uint8_t* mask, std::size_t count,
                       void* values, Compress compress, StreamLine stream_line) noexcept {
  constexpr std::size_t kBlock = 4096 / sizeof(Bits), kRoom = kBlock + slack;
  LineWriter<kRoom * sizeof(Bits), StreamLine> writer(values, stream_line);
  for (std::size_t first = 0; first < count; first += kBlock) {
    const std::size_t here = count - first < kBlock ? count - first : kBlock;
    auto* const begin = reinterpret_cast<Bits*>(writer.end());
    const Bits* const end = compress(begin, kRoom, weights + first, mask + first / 8, here);
    writer.add(static_cast<std::size_t>(end - begin) * sizeof(Bits));
  }
  writer.finish();
}

}  // namespace
}  // namespace prunepack
