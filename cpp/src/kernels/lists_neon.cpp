// Lists, NEON.
#include <arm_neon.h>

#include "list_products.h"
#include "list_rows.h"
#include "tables.h"

namespace prunepack::neon {
namespace {

struct TwoLanes {
  using Register = float32x2_t;
  static constexpr std::size_t kCount = 2;
  static float32x2_t of(float x) noexcept { return vdup_n_f32(x); }
  static float32x2_t load(const float* from) noexcept { return vld1_f32(from); }
  static void store(float* to, float32x2_t lanes) noexcept { vst1_f32(to, lanes); }
  static float32x2_t add(float32x2_t a, float32x2_t b) noexcept { return vadd_f32(a, b); }
  static float32x2_t multiply_add(float32x2_t a, float32x2_t b, float32x2_t c) noexcept {
    return vfma_f32(c, a, b);
  }
};

struct FourLanes {
  using Register = float32x4_t;
  static constexpr std::size_t kCount = 4;
  static float32x4_t of(float x) noexcept { return vdupq_n_f32(x); }
  static float32x4_t load(const float* from) noexcept { return vld1q_f32(from); }
  static void store(float* to, float32x4_t lanes) noexcept { vst1q_f32(to, lanes); }
  static float32x4_t add(float32x4_t a, float32x4_t b) noexcept { return vaddq_f32(a, b); }
  static float32x4_t multiply_add(float32x4_t a, float32x4_t b, float32x4_t c) noexcept {
    return vfmaq_f32(c, a, b);
  }
};

void widen_float16(const void* values, std::size_t count, float* out) noexcept {
  const auto* from = static_cast<const __fp16*>(values);
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<float>(from[i]);
}

}  // namespace

const ListKernels lists = {.columns = list_columns,
                           .product = list_product<16, TwoLanes, FourLanes, FourLanes, FourLanes>,
                           .values = list_values(widen_float16)};

}  // namespace prunepack::neon
