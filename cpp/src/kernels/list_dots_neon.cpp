// Dot products of lists and one row of activations, NEON, four elements at a time.
#include <arm_neon.h>

#include "list_dots.h"
#include "tables.h"

namespace prunepack::neon {
namespace {

// Four values, one after the other, as float32.
template <Dtype dtype>
float32x4_t four_values(const std::uint8_t* values) noexcept {
  if constexpr (dtype == Dtype::float32) {
    return vreinterpretq_f32_u8(vld1q_u8(values));
  } else if constexpr (dtype == Dtype::float16) {
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(values)));
  } else if constexpr (dtype == Dtype::bfloat16) {
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(values)), 16));
  } else {
    std::uint32_t four;
    std::memcpy(&four, values, sizeof four);
    const int8x8_t bytes = vreinterpret_s8_u32(vdup_n_u32(four));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))));
  }
}

inline float32x4_t at_columns(const float* x, const std::uint16_t* columns) noexcept {
  float32x4_t four = vld1q_dup_f32(x + columns[0]);
  four = vld1q_lane_f32(x + columns[1], four, 1);
  four = vld1q_lane_f32(x + columns[2], four, 2);
  return vld1q_lane_f32(x + columns[3], four, 3);
}

// Four lanes, zeros but for the first `count`, from -4 to 8.
inline float32x4_t first_lanes(float32x4_t lanes, std::ptrdiff_t count) noexcept {
  static constexpr std::uint32_t kOnes[16] = {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u};
  return vreinterpretq_f32_u32(
      vandq_u32(vreinterpretq_u32_f32(lanes), vld1q_u32(kOnes + 8 - count)));
}

template <Dtype dtype>
struct Four {
  static constexpr std::size_t kCount = 4;
  using Register = float32x4_t;

  static float32x4_t zero() noexcept { return vdupq_n_f32(0); }
  static float32x4_t add(float32x4_t a, float32x4_t b) noexcept { return vaddq_f32(a, b); }
  static float sum(float32x4_t lanes) noexcept { return vaddvq_f32(lanes); }
  static float32x4_t add_products(float32x4_t sums, const std::uint8_t* values,
                                  const std::uint16_t* columns, const float* x) noexcept {
    return vfmaq_f32(sums, four_values<dtype>(values), at_columns(x, columns));
  }
  static float32x4_t products(const std::uint8_t* values, const std::uint16_t* columns,
                              const float* x, std::ptrdiff_t count) noexcept {
    return first_lanes(vmulq_f32(four_values<dtype>(values), at_columns(x, columns)), count);
  }
};

}  // namespace

const PerDtype<ListDots> list_dots = PRUNEPACK_LIST_DOTS(Four);

}  // namespace prunepack::neon
