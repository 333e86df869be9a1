// What the NEON panel kernels share: weights of each dtype as float32, and sums for a batch. In an
// unnamed namespace; key.h says why.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "panel_walks.h"

namespace prunepack::neon {
namespace {

// The lanes of a register are four quarters of four.
inline constexpr std::size_t kQuarters = 4, kQuarterLanes = 4;

struct Lanes {
  float32x4_t of[kQuarters];
};

inline Lanes widened(uint16x8_t low, uint16x8_t high) noexcept {  // bfloat16
  const auto wide = [](uint16x4_t quarter) {
    return vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(quarter), 16));
  };
  return {{wide(vget_low_u16(low)), wide(vget_high_u16(low)), wide(vget_low_u16(high)),
           wide(vget_high_u16(high))}};
}

inline Lanes widened(float16x8_t low, float16x8_t high) noexcept {
  return {{vcvt_f32_f16(vget_low_f16(low)), vcvt_f32_f16(vget_high_f16(low)),
           vcvt_f32_f16(vget_low_f16(high)), vcvt_f32_f16(vget_high_f16(high))}};
}

inline Lanes widened(int8x16_t bytes) noexcept {
  const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_s8(vget_high_s8(bytes));
  const auto wide = [](int16x4_t quarter) { return vcvtq_f32_s32(vmovl_s16(quarter)); };
  return {{wide(vget_low_s16(low)), wide(vget_high_s16(low)), wide(vget_low_s16(high)),
           wide(vget_high_s16(high))}};
}

inline uint16x8_t load_halves(const std::uint8_t* from) noexcept {
  return vreinterpretq_u16_u8(vld1q_u8(from));
}

inline float16x8_t load_floats_16(const std::uint8_t* from) noexcept {
  return vreinterpretq_f16_u8(vld1q_u8(from));
}

// Weights of a dtype: the parts of a register in memory, and 16 elements one after the other.
struct Float32Weights {
  static constexpr std::size_t kWidth = 4, kParts = 1;
  static Lanes in_order(const std::uint8_t* from) noexcept {
    Lanes lanes;
    for (std::size_t q = 0; q < kQuarters; ++q) {
      lanes.of[q] = vreinterpretq_f32_u8(vld1q_u8(from + 16 * q));
    }
    return lanes;
  }
  static void parts(const std::uint8_t* cells, Lanes (&parts)[kParts]) noexcept {
    parts[0] = in_order(cells);
  }
};

struct Float16Weights {
  static constexpr std::size_t kWidth = 2, kParts = 2;
  static Lanes in_order(const std::uint8_t* from) noexcept {
    return widened(load_floats_16(from), load_floats_16(from + 16));
  }
  static void parts(const std::uint8_t* cells, Lanes (&parts)[kParts]) noexcept {
    parts[0] = in_order(cells);
    parts[1] = in_order(cells + 32);
  }
};

struct Bfloat16Weights {
  static constexpr std::size_t kWidth = 2, kParts = 2;
  static Lanes in_order(const std::uint8_t* from) noexcept {
    return widened(load_halves(from), load_halves(from + 16));
  }
  static void parts(const std::uint8_t* cells, Lanes (&parts)[kParts]) noexcept {
    for (std::size_t q = 0; q < kQuarters; ++q) {
      const uint32x4_t both = vreinterpretq_u32_u8(vld1q_u8(cells + 16 * q));
      parts[0].of[q] = vreinterpretq_f32_u32(vshlq_n_u32(both, 16));
      parts[1].of[q] = vreinterpretq_f32_u32(vandq_u32(both, vdupq_n_u32(0xffff0000)));
    }
  }
};

struct Int8Weights {
  static constexpr std::size_t kWidth = 1, kParts = 4;
  static Lanes in_order(const std::uint8_t* from) noexcept {
    return widened(vreinterpretq_s8_u8(vld1q_u8(from)));
  }
  static void parts(const std::uint8_t* cells, Lanes (&parts)[kParts]) noexcept {
    const uint8x16x4_t apart = vld4q_u8(cells);
    for (std::size_t p = 0; p < kParts; ++p) {
      parts[p] = widened(vreinterpretq_s8_u8(apart.val[p]));
    }
  }
};

template <std::size_t rows>
struct Sums {
  float32x4_t of[rows][kQuarters];

  Sums() noexcept {
#pragma GCC unroll 4
    for (std::size_t b = 0; b < rows; ++b) {
#pragma GCC unroll 4
      for (std::size_t q = 0; q < kQuarters; ++q) of[b][q] = vdupq_n_f32(0);
    }
  }

  // Adds weights times factor(b, q), for every row b and quarter q.
  template <class Factor>
  void add(const Lanes& weights, const Factor& factor) noexcept {
#pragma GCC unroll 4
    for (std::size_t b = 0; b < rows; ++b) {
#pragma GCC unroll 4
      for (std::size_t q = 0; q < kQuarters; ++q) {
        of[b][q] = vfmaq_f32(of[b][q], weights.of[q], factor(b, q));
      }
    }
  }

  void store(float* sums) const noexcept {
#pragma GCC unroll 4
    for (std::size_t b = 0; b < rows; ++b) {
#pragma GCC unroll 4
      for (std::size_t q = 0; q < kQuarters; ++q) {
        vst1q_f32(sums + b * kPanelRows + q * kQuarterLanes, of[b][q]);
      }
    }
  }
};

// The products of a sweep: those with float32 activations.
template <class Sweep>
inline constexpr PanelProducts kProductsOf = {
    {in_sweeps<Sweep, Float32Weights>, in_sweeps<Sweep, Float16Weights>,
     in_sweeps<Sweep, Bfloat16Weights>, in_sweeps<Sweep, Int8Weights>, nullptr, nullptr}};

}  // namespace
}  // namespace prunepack::neon
