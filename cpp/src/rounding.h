// What activations are rounded to before they are multiplied.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "prunepack/linear.h"

namespace prunepack {

inline std::uint16_t to_bfloat16(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if (x != x) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float rounded_to_bfloat16(float x) {
  const std::uint32_t bits = std::uint32_t{to_bfloat16(x)} << 16;
  float rounded;
  std::memcpy(&rounded, &bits, sizeof rounded);
  return rounded;
}

// The step of a row's int8 activations: its largest magnitude is 127 of them. NaN if that is not
// finite, which makes the whole row of results NaN.
inline float int8_step(const float* x, std::size_t columns) {
  constexpr std::uint32_t magnitude = 0x7fffffff, infinity = 0x7f800000;
  std::uint32_t largest = 0;  // magnitudes order as their bits, and NaN is above infinity
  for (std::size_t c = 0; c < columns; ++c) {
    std::uint32_t bits;
    std::memcpy(&bits, x + c, sizeof bits);
    largest = std::max(largest, bits & magnitude);
  }
  if (largest >= infinity) return std::numeric_limits<float>::quiet_NaN();
  float step;
  std::memcpy(&step, &largest, sizeof step);
  return step / 127;
}

// x in steps, rounded to an integer, to even where there are two: what a float32 has no bits for
// is rounded away when this number is added. Not a number, or no step, is 0.
inline float in_steps(float x, float step) {
  constexpr float rounds = 0x1.8p23f;
  const float steps = (x / step + rounds) - rounds;
  return std::fabs(steps) <= 127 ? steps : 0;
}

// Activations rounded, as float32; for int8 the number of steps.
inline void round_activations(const float* x, std::size_t count, Activations to, float step,
                              float* out) {
  switch (to) {
    case Activations::float32:
      std::memcpy(out, x, count * sizeof *x);
      return;
    case Activations::bfloat16:
      for (std::size_t i = 0; i < count; ++i) out[i] = rounded_to_bfloat16(x[i]);
      return;
    case Activations::int8:
      for (std::size_t i = 0; i < count; ++i) out[i] = in_steps(x[i], step);
  }
}

}  // namespace prunepack
