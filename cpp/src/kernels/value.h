// The number an element stands for, as a float64, for the scalar norms and the tails of the others.
// Every value of every dtype is exactly a float64. In an unnamed namespace; key.h says why.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "prunepack/dtype.h"

namespace prunepack {
namespace {

inline constexpr std::uint64_t kInfinity = 0x7ff0000000000000, kNan = 0x7ff8000000000000;
inline constexpr std::uint32_t kRoughNan = 0x7fc00000;  // of a norm in float32

inline double from_bits(std::uint64_t bits) noexcept {
  double value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// |x| of a small floating type, from its bits without the sign. `kFinite` says that the top
// exponent holds ordinary numbers, and only all ones is a NaN (float8_e4m3fn).
template <int exponent_bits, int mantissa_bits, bool kFinite = false>
double magnitude_of_float(std::uint32_t key) noexcept {
  constexpr int bias = (1 << (exponent_bits - 1)) - 1;
  constexpr std::uint32_t top = (1u << exponent_bits) - 1, ones = (1u << mantissa_bits) - 1;
  const std::uint32_t exponent = key >> mantissa_bits, mantissa = key & ones;
  if (exponent == top && (!kFinite || mantissa == ones)) {
    return from_bits(mantissa == 0 ? kInfinity : kNan);
  }
  if (exponent == 0) {  // mantissa * 2^(1 - bias - mantissa_bits), a subnormal
    return mantissa * from_bits(static_cast<std::uint64_t>(1024 - bias - mantissa_bits) << 52);
  }
  return from_bits(static_cast<std::uint64_t>(static_cast<int>(exponent) + 1023 - bias) << 52 |
                   static_cast<std::uint64_t>(mantissa) << (52 - mantissa_bits));
}

template <Dtype dtype>
double magnitude(const void* weights, std::size_t i) noexcept {
  const auto* bytes = static_cast<const std::uint8_t*>(weights);
  if constexpr (dtype == Dtype::float8_e4m3fn) {
    return magnitude_of_float<4, 3, true>(bytes[i] & 0x7fu);
  } else if constexpr (dtype == Dtype::float8_e5m2) {
    return magnitude_of_float<5, 2>(bytes[i] & 0x7fu);
  } else if constexpr (dtype == Dtype::int8) {
    const double value = static_cast<const std::int8_t*>(weights)[i];
    return value < 0 ? -value : value;
  } else if constexpr (dtype == Dtype::uint8) {
    return bytes[i];
  } else if constexpr (dtype == Dtype::float16 || dtype == Dtype::bfloat16) {
    const std::uint32_t key = static_cast<const std::uint16_t*>(weights)[i] & 0x7fffu;
    return dtype == Dtype::float16 ? magnitude_of_float<5, 10>(key) : magnitude_of_float<8, 7>(key);
  } else if constexpr (dtype == Dtype::float32) {
    return magnitude_of_float<8, 23>(static_cast<const std::uint32_t*>(weights)[i] & 0x7fffffffu);
  } else {
    return from_bits(static_cast<const std::uint64_t*>(weights)[i] & 0x7fffffffffffffff);
  }
}

// The same with its sign, as float32, at any address.
template <Dtype dtype>
float number(const std::uint8_t* values, std::size_t i) noexcept {
  alignas(8) std::uint8_t element[width(dtype)];
  std::memcpy(element, values + i * sizeof element, sizeof element);
  const double size = magnitude<dtype>(element, 0);
  const bool negative = element[sizeof element - 1] >> 7;
  return static_cast<float>(negative ? -size : size);
}

}  // namespace
}  // namespace prunepack

// The functions of a family that needs the values, one for each dtype in the order of dtype.h.
#define PRUNEPACK_PER_VALUE(function)                                                      \
  {                                                                                        \
    {                                                                                      \
      function<Dtype::float8_e4m3fn>, function<Dtype::float8_e5m2>, function<Dtype::int8>, \
          function<Dtype::uint8>, function<Dtype::float16>, function<Dtype::bfloat16>,     \
          function<Dtype::float32>, function<Dtype::float64>                               \
    }                                                                                      \
  }
