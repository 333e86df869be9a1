// The last of the bits that are set in each group of a mask. In an unnamed namespace; key.h says
// why.
#pragma once

#include <cstddef>
#include <cstdint>

namespace prunepack {
namespace {

// Groups of 8 bits.
[[gnu::always_inline]] inline std::uint64_t last_of_bytes(std::uint64_t word) noexcept {
  // All those before the last one, too ...
  word |= word >> 1 & 0x7f7f7f7f7f7f7f7f;
  word |= word >> 2 & 0x3f3f3f3f3f3f3f3f;
  word |= word >> 4 & 0x0f0f0f0f0f0f0f0f;
  return word ^ (word >> 1 & 0x7f7f7f7f7f7f7f7f);  // ... and then not those
}

}  // namespace
}  // namespace prunepack
