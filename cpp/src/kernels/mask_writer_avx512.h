// Masks of groups that do not end on bytes, AVX-512.
#pragma once

#include "avx512.h"

namespace prunepack::avx512 {
namespace {

// Appends words of bits at any bit position, to a mask it begins.
class MaskWriter {
 public:
  explicit MaskWriter(std::uint8_t* mask) noexcept : out_(mask) {}
  void append(std::uint64_t word, std::size_t count) noexcept {  // bits beyond `count` are 0
    held_ |= word << used_;
    if (used_ + count < 64) {
      used_ += count;
      return;
    }
    store_word(out_, held_);
    out_ += 8;
    held_ = used_ == 0 ? 0 : word >> (64 - used_);
    used_ = used_ + count - 64;
  }
  void finish() noexcept { store_word(out_, held_, used_); }

 private:
  std::uint8_t* out_;
  std::uint64_t held_ = 0;
  std::size_t used_ = 0;  // bits in held_, fewer than 64
};

}  // namespace
}  // namespace prunepack::avx512
