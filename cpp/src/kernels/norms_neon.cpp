// tile_norms, column_norms and rough_norms, NEON: eight elements a step, as four registers of two
// float64; or two of four float32, for rough norms.
//
// Nothing here looks for NaN: all terms are non-negative, so a lane is NaN exactly if one of its
// terms was, and sums and vmax pass it on. Only its bits are made the same at the end.
#include <arm_neon.h>

#include "tables.h"
#include "value.h"

namespace prunepack::neon {
namespace {

struct Eight {
  float64x2_t pairs[4];
};

template <std::size_t bytes>
struct Unsigned;
template <>
struct Unsigned<1> {
  using Type = std::uint8_t;
};
template <>
struct Unsigned<2> {
  using Type = std::uint16_t;
};
template <>
struct Unsigned<4> {
  using Type = std::uint32_t;
};
template <>
struct Unsigned<8> {
  using Type = std::uint64_t;
};
template <Dtype dtype>
using Bits = typename Unsigned<width(dtype)>::Type;

struct Floats {  // eight of them
  float32x4_t low, high;
};

Eight wide(Floats floats) noexcept {
  return {{vcvt_f64_f32(vget_low_f32(floats.low)), vcvt_high_f64_f32(floats.low),
           vcvt_f64_f32(vget_low_f32(floats.high)), vcvt_high_f64_f32(floats.high)}};
}

Floats floats_of_halves(uint16x8_t bits) noexcept {
  const float16x8_t halves = vreinterpretq_f16_u16(bits);
  return {vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)};
}

Floats floats_of_integers(uint8x8_t magnitudes) noexcept {
  const uint16x8_t words = vmovl_u8(magnitudes);
  return {vcvtq_f32_u32(vmovl_u16(vget_low_u16(words))), vcvtq_f32_u32(vmovl_high_u16(words))};
}

// float8_e4m3fn seven bits up is a float16, with a bias that is 8 larger.
Floats floats_of_e4m3fn(uint8x8_t keys) noexcept {
  const float16x8_t scaled = vreinterpretq_f16_u16(vshll_n_u8(keys, 7));
  const float32x4_t parts[] = {vcvt_f32_f16(vget_low_f16(scaled)), vcvt_high_f32_f16(scaled)};
  const uint16x8_t is_nan = vmovl_u8(vceq_u8(keys, vdup_n_u8(0x7f)));
  const uint32x4_t of_nan[] = {vshll_n_u16(vget_low_u16(is_nan), 16), vshll_high_n_u16(is_nan, 16)};
  float32x4_t whole[2];
  for (int i = 0; i < 2; ++i) {  // with all exponent bits it is a NaN, its mantissa not being 0
    const uint32x4_t number = vreinterpretq_u32_f32(vmulq_n_f32(parts[i], 256));
    whole[i] = vreinterpretq_f32_u32(vorrq_u32(number, vshlq_n_u32(of_nan[i], 7)));
  }
  return {whole[0], whole[1]};
}

// |x| of eight elements, in float32, which all are but those of float64.
template <Dtype dtype>
Floats floats_at(const Bits<dtype>* weights) noexcept {
  if constexpr (dtype == Dtype::float8_e4m3fn) {
    return floats_of_e4m3fn(vand_u8(vld1_u8(weights), vdup_n_u8(0x7f)));
  } else if constexpr (dtype == Dtype::float8_e5m2) {  // the upper half of a float16
    return floats_of_halves(vshll_n_u8(vand_u8(vld1_u8(weights), vdup_n_u8(0x7f)), 8));
  } else if constexpr (dtype == Dtype::int8) {
    return floats_of_integers(vreinterpret_u8_s8(vabs_s8(vreinterpret_s8_u8(vld1_u8(weights)))));
  } else if constexpr (dtype == Dtype::uint8) {
    return floats_of_integers(vld1_u8(weights));
  } else if constexpr (dtype == Dtype::float16) {
    return floats_of_halves(vandq_u16(vld1q_u16(weights), vdupq_n_u16(0x7fff)));
  } else if constexpr (dtype == Dtype::bfloat16) {  // the upper half of a float32
    const uint16x8_t keys = vandq_u16(vld1q_u16(weights), vdupq_n_u16(0x7fff));
    return {vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(keys), 16)),
            vreinterpretq_f32_u32(vshll_high_n_u16(keys, 16))};
  } else if constexpr (dtype == Dtype::float32) {
    return {vabsq_f32(vreinterpretq_f32_u32(vld1q_u32(weights))),
            vabsq_f32(vreinterpretq_f32_u32(vld1q_u32(weights + 4)))};
  } else {
    float32x2_t pairs[4];
    for (int i = 0; i < 4; ++i) {
      pairs[i] = vcvt_f32_f64(vabsq_f64(vreinterpretq_f64_u64(vld1q_u64(weights + 2 * i))));
    }
    return {vcombine_f32(pairs[0], pairs[1]), vcombine_f32(pairs[2], pairs[3])};
  }
}

// The same in float64.
template <Dtype dtype>
Eight magnitudes_at(const Bits<dtype>* weights) noexcept {
  if constexpr (dtype != Dtype::float64) {
    return wide(floats_at<dtype>(weights));
  } else {
    Eight eight;
    for (int i = 0; i < 4; ++i) {
      eight.pairs[i] = vabsq_f64(vreinterpretq_f64_u64(vld1q_u64(weights + 2 * i)));
    }
    return eight;
  }
}

template <Norm norm>
float64x2_t combined(float64x2_t a, float64x2_t b) noexcept {
  return norm == Norm::max ? vmaxq_f64(a, b) : vaddq_f64(a, b);
}

template <Norm norm>
float64x2_t with_term(float64x2_t lane, float64x2_t x) noexcept {
  return combined<norm>(lane, norm == Norm::l2 ? vmulq_f64(x, x) : x);
}

float64x2_t with_one_nan(float64x2_t norms) noexcept {
  const uint64x2_t is_number = vceqq_f64(norms, norms);
  return vbslq_f64(is_number, norms, vdupq_n_f64(from_bits(kNan)));
}

// Eight elements of which those from `size` on are +0, which changes no sum and no maximum.
Eight first_of(Eight eight, std::size_t size) noexcept {
  constexpr std::uint64_t kOn = ~std::uint64_t{0};
  constexpr std::uint64_t kWindow[16] = {kOn, kOn, kOn, kOn, kOn, kOn, kOn, kOn};
  for (std::size_t i = 0; i < 4; ++i) {
    const uint64x2_t bits = vreinterpretq_u64_f64(eight.pairs[i]);
    eight.pairs[i] = vreinterpretq_f64_u64(vandq_u64(bits, vld1q_u64(kWindow + 8 - size + 2 * i)));
  }
  return eight;
}

// The norm of a tile. `readable` elements may be read, perhaps more than there are in the tile.
template <Dtype dtype, Norm norm>
double norm_of(const Bits<dtype>* tile, std::size_t size, std::size_t readable) noexcept {
  float64x2_t lanes[4] = {};
  const auto take = [&](const Eight& eight) {
    for (std::size_t i = 0; i < 4; ++i) lanes[i] = with_term<norm>(lanes[i], eight.pairs[i]);
  };
  std::size_t e = 0;
  for (; e + 8 <= size; e += 8) take(magnitudes_at<dtype>(tile + e));
  if (const std::size_t rest = size - e; rest > 0) {
    if (e + 8 <= readable) {
      take(first_of(magnitudes_at<dtype>(tile + e), rest));
    } else {
      Bits<dtype> padded[8] = {};
      std::memcpy(padded, tile + e, rest * sizeof padded[0]);
      take(magnitudes_at<dtype>(padded));
    }
  }
  const float64x2_t two =
      combined<norm>(combined<norm>(lanes[0], lanes[2]), combined<norm>(lanes[1], lanes[3]));
  const float64x2_t one = combined<norm>(two, vdupq_laneq_f64(two, 1));
  return vgetq_lane_f64(with_one_nan(one), 0);
}

template <Dtype dtype, Norm norm>
void tile_norms_by(const Bits<dtype>* weights, std::size_t tiles, std::size_t size,
                   double* norms) noexcept {
  for (std::size_t t = 0; t < tiles; ++t) {
    norms[t] = norm_of<dtype, norm>(weights + t * size, size, (tiles - t) * size);
  }
}

// The norms of eight columns, from row_at(e) for each row. Lane j of every column is in lanes[j].
template <Norm norm, class Row>
void eight_columns(std::size_t size, double* norms, const Row& row_at) noexcept {
  float64x2_t lanes[8][4] = {};
  for (std::size_t e = 0; e < size; ++e) {
    const Eight row = row_at(e);
    float64x2_t* lane = lanes[e % 8];
    for (std::size_t i = 0; i < 4; ++i) lane[i] = with_term<norm>(lane[i], row.pairs[i]);
  }
  for (std::size_t half = 4; half > 0; half /= 2) {
    for (std::size_t j = 0; j < half; ++j) {
      for (std::size_t i = 0; i < 4; ++i) {
        lanes[j][i] = combined<norm>(lanes[j][i], lanes[j + half][i]);
      }
    }
  }
  for (std::size_t i = 0; i < 4; ++i) vst1q_f64(norms + 2 * i, with_one_nan(lanes[0][i]));
}

template <Dtype dtype, Norm norm>
void column_norms_by(const Bits<dtype>* weights, std::size_t stride, std::size_t size,
                     std::size_t columns, double* norms) noexcept {
  const auto eight_from = [&](std::size_t first) {
    eight_columns<norm>(size, norms + first, [&](std::size_t e) {
      return magnitudes_at<dtype>(weights + e * stride + first);
    });
  };
  for (std::size_t c = 0; c + 8 <= columns; c += 8) eight_from(c);
  if (columns % 8 == 0) return;
  if (columns > 8) return eight_from(columns - 8);  // some of them once more

  double padded_norms[8];
  eight_columns<norm>(size, padded_norms, [&](std::size_t e) {
    Bits<dtype> padded[8] = {};
    std::memcpy(padded, weights + e * stride, columns * sizeof padded[0]);
    return magnitudes_at<dtype>(padded);
  });
  std::memcpy(norms, padded_norms, columns * sizeof norms[0]);
}

template <Norm norm>
float32x4_t with_rough_term(float32x4_t sum, float32x4_t x) noexcept {
  if constexpr (norm == Norm::max) return vmaxq_f32(sum, x);
  return vaddq_f32(sum, norm == Norm::l2 ? vmulq_f32(x, x) : x);
}

float32x4_t with_one_rough_nan(float32x4_t norms) noexcept {
  const float32x4_t nan = vreinterpretq_f32_u32(vdupq_n_u32(kRoughNan));
  return vbslq_f32(vceqq_f32(norms, norms), norms, nan);
}

// The rough norms of eight columns, from floats_at(e) for each row.
template <Norm norm, class Row>
void eight_rough_columns(std::size_t size, float* norms, const Row& row_at) noexcept {
  Floats sums{vdupq_n_f32(0), vdupq_n_f32(0)};
  for (std::size_t e = 0; e < size; ++e) {
    const Floats row = row_at(e);
    sums = {with_rough_term<norm>(sums.low, row.low), with_rough_term<norm>(sums.high, row.high)};
  }
  vst1q_f32(norms, with_one_rough_nan(sums.low));
  vst1q_f32(norms + 4, with_one_rough_nan(sums.high));
}

template <Dtype dtype, Norm norm>
void rough_norms_by(const Bits<dtype>* weights, std::size_t stride, std::size_t size,
                    std::size_t columns, float* norms) noexcept {
  std::size_t c = 0;
  for (; c + 8 <= columns; c += 8) {
    eight_rough_columns<norm>(
        size, norms + c, [&](std::size_t e) { return floats_at<dtype>(weights + e * stride + c); });
  }
  if (c == columns) return;
  float last[8];
  eight_rough_columns<norm>(size, last, [&](std::size_t e) {
    Bits<dtype> padded[8] = {};
    std::memcpy(padded, weights + e * stride + c, (columns - c) * sizeof padded[0]);
    return floats_at<dtype>(padded);
  });
  std::memcpy(norms + c, last, (columns - c) * sizeof norms[0]);
}

template <Dtype dtype>
void tile_norms_of(const void* weights, std::size_t tiles, std::size_t size, Norm norm,
                   double* norms) noexcept {
  const auto* bits = static_cast<const Bits<dtype>*>(weights);
  switch (norm) {
    case Norm::l1:
      return tile_norms_by<dtype, Norm::l1>(bits, tiles, size, norms);
    case Norm::l2:
      return tile_norms_by<dtype, Norm::l2>(bits, tiles, size, norms);
    case Norm::max:
      return tile_norms_by<dtype, Norm::max>(bits, tiles, size, norms);
  }
}

template <Dtype dtype>
void column_norms_of(const void* weights, std::size_t stride, std::size_t size, std::size_t columns,
                     Norm norm, double* norms) noexcept {
  const auto* bits = static_cast<const Bits<dtype>*>(weights);
  switch (norm) {
    case Norm::l1:
      return column_norms_by<dtype, Norm::l1>(bits, stride, size, columns, norms);
    case Norm::l2:
      return column_norms_by<dtype, Norm::l2>(bits, stride, size, columns, norms);
    case Norm::max:
      return column_norms_by<dtype, Norm::max>(bits, stride, size, columns, norms);
  }
}

template <Dtype dtype>
void rough_norms_of(const void* weights, std::size_t stride, std::size_t size, std::size_t columns,
                    Norm norm, const void*, float* norms) noexcept {
  const auto* bits = static_cast<const Bits<dtype>*>(weights);
  switch (norm) {
    case Norm::l1:
      return rough_norms_by<dtype, Norm::l1>(bits, stride, size, columns, norms);
    case Norm::l2:
      return rough_norms_by<dtype, Norm::l2>(bits, stride, size, columns, norms);
    case Norm::max:
      return rough_norms_by<dtype, Norm::max>(bits, stride, size, columns, norms);
  }
}

}  // namespace

const PerDtype<TileNorms> tile_norms = PRUNEPACK_PER_VALUE(tile_norms_of);
const PerDtype<ColumnNorms> column_norms = PRUNEPACK_PER_VALUE(column_norms_of);
const PerDtype<RoughNorms> rough_norms = PRUNEPACK_PER_VALUE(rough_norms_of);

}  // namespace prunepack::neon
