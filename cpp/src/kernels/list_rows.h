// The columns and the numbers of a list, element by element: for ISAs that have nothing better, and
// where compilers do it as well. In an unnamed namespace; key.h says why.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "prunepack/lists.h"

namespace prunepack {
namespace {

inline std::size_t list_columns(const std::uint8_t* mask, std::size_t bytes,
                                std::uint16_t* columns) noexcept {
  std::uint16_t* next = columns;
  for (std::size_t first = 0; first < bytes; first += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, mask + first, bytes - first < 8 ? bytes - first : 8);
    for (; word != 0; word &= word - 1) {
      const auto bit = static_cast<unsigned>(__builtin_ctzll(word));
      *next++ = static_cast<std::uint16_t>(8 * first + bit);
    }
  }
  return static_cast<std::size_t>(next - columns);
}

inline void widen_bfloat16(const void* values, std::size_t count, float* out) noexcept {
  const auto* from = static_cast<const std::uint16_t*>(values);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t bits = std::uint32_t{from[i]} << 16;
    std::memcpy(out + i, &bits, sizeof bits);
  }
}

inline void widen_int8(const void* values, std::size_t count, float* out) noexcept {
  const auto* from = static_cast<const std::int8_t*>(values);
  for (std::size_t i = 0; i < count; ++i) out[i] = from[i];
}

// The values of a list, by dtype; float32 is used as it is.
constexpr PerDtype<ListValues> list_values(ListValues float16) {
  return {{nullptr, nullptr, widen_int8, nullptr, float16, widen_bfloat16, nullptr, nullptr}};
}

}  // namespace
}  // namespace prunepack
