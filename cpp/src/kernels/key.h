// The bits and the key of an element, for the scalar kernels and the tails of the others.
//
// Everything here is in an unnamed namespace on purpose: a function with linkage, compiled in a
// file with AVX-512 flags, could be the copy that the linker keeps for everyone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace prunepack {
namespace {

// How the key is made from the bits. Ranking never looks further: the two float8 types share a
// kernel, as do float16 and bfloat16.
enum class Kind { clear_sign, absolute, identity };

template <class BitsType, Kind kind>
struct Element {
  using Bits = BitsType;
  static constexpr std::size_t kBits = 8 * sizeof(Bits);
  static constexpr Bits kMaxKey = kind == Kind::clear_sign ? static_cast<Bits>(~Bits{0}) >> 1
                                                           : static_cast<Bits>(~Bits{0});

  static constexpr Bits key(Bits bits) noexcept {
    if constexpr (kind == Kind::clear_sign) return bits & kMaxKey;
    if constexpr (kind == Kind::absolute) {
      return static_cast<Bits>(bits >> (kBits - 1) ? -bits : bits);
    }
    return bits;
  }
};

// A mask of `count` bits that are all `value`.
inline void fill_bits(std::uint8_t* mask, std::size_t count, bool value) noexcept {
  std::memset(mask, value ? 0xff : 0, (count + 7) / 8);
  if (value && count % 8 != 0) mask[count / 8] = static_cast<std::uint8_t>((1u << count % 8) - 1);
}

using Float8 = Element<std::uint8_t, Kind::clear_sign>;
using Int8 = Element<std::uint8_t, Kind::absolute>;
using Uint8 = Element<std::uint8_t, Kind::identity>;
using Float16 = Element<std::uint16_t, Kind::clear_sign>;
using Float32 = Element<std::uint32_t, Kind::clear_sign>;
using Float64 = Element<std::uint64_t, Kind::clear_sign>;

}  // namespace
}  // namespace prunepack

// The functions of a family, one for each dtype in the order of dtype.h: those that rank ...
#define PRUNEPACK_PER_ELEMENT(function)                                                       \
  {                                                                                           \
    {                                                                                         \
      function<Float8>, function<Float8>, function<Int8>, function<Uint8>, function<Float16>, \
          function<Float16>, function<Float32>, function<Float64>                             \
    }                                                                                         \
  }
// ... and those that only move elements of some width.
#define PRUNEPACK_PER_WIDTH(function)                                               \
  {                                                                                 \
    {                                                                               \
      function<std::uint8_t>, function<std::uint8_t>, function<std::uint8_t>,       \
          function<std::uint8_t>, function<std::uint16_t>, function<std::uint16_t>, \
          function<std::uint32_t>, function<std::uint64_t>                          \
    }                                                                               \
  }
