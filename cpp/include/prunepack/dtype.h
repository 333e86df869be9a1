// The element types of weights, and what the library needs to know of each.
#pragma once

#include <cstddef>
#include <cstdint>

namespace prunepack {

enum class Dtype : std::uint8_t {
  float8_e4m3fn,
  float8_e5m2,
  int8,
  uint8,
  float16,
  bfloat16,
  float32,
  float64
};

inline constexpr std::size_t kDtypes = 8;

inline constexpr Dtype kAllDtypes[kDtypes] = {
    Dtype::float8_e4m3fn, Dtype::float8_e5m2, Dtype::int8,    Dtype::uint8,
    Dtype::float16,       Dtype::bfloat16,    Dtype::float32, Dtype::float64};

constexpr std::size_t width(Dtype dtype) {  // bytes of one element
  constexpr std::size_t widths[kDtypes] = {1, 1, 1, 1, 2, 2, 4, 8};
  return widths[static_cast<std::size_t>(dtype)];
}

// One entry for each dtype.
template <class Entry>
struct PerDtype {
  Entry entries[kDtypes];
  constexpr Entry operator[](Dtype dtype) const { return entries[static_cast<std::size_t>(dtype)]; }
};

}  // namespace prunepack
