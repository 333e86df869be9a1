// The n:m layouts, NEON: positions pick each lane's activations by a lookup of bytes in a group.
#include "panels_neon.h"
#include "tables.h"

namespace prunepack::neon {
namespace {

// The positions of a register for part p of quarter q of its lanes, one in each 32-bit lane.
template <std::size_t parts, std::size_t bits>
uint32x4_t positions_of(const std::uint8_t* from, std::size_t p, std::size_t q) noexcept {
  constexpr std::size_t bytes = position_bytes(parts, bits);
  std::uint32_t words[4];  // of the four lanes
  std::int32_t shifts[4];
  for (std::size_t i = 0; i < kQuarterLanes; ++i) {
    const PositionPlace place = position_place(parts, bits, q * kQuarterLanes + i, p);
    std::memcpy(words + i, from + place.byte / 4 * 4, sizeof words[i]);
    shifts[i] = -static_cast<std::int32_t>(place.byte % 4 * 8 + place.shift);
  }
  static_assert(bytes % 4 == 0);
  return vandq_u32(vshlq_u32(vld1q_u32(words), vld1q_s32(shifts)), vdupq_n_u32((1u << bits) - 1));
}

// The bytes of the floats at `positions`.
uint8x16_t bytes_at(uint32x4_t positions) noexcept {
  return vreinterpretq_u8_u32(vmlaq_n_u32(vdupq_n_u32(0x03020100), positions, 0x04040404));
}

uint8x16_t bytes_of(const float* x) noexcept { return vreinterpretq_u8_f32(vld1q_f32(x)); }

template <std::size_t group>
float32x4_t picked(const float* x, uint8x16_t bytes) noexcept {
  if constexpr (group == 4) return vreinterpretq_f32_u8(vqtbl1q_u8(bytes_of(x), bytes));
  const uint8x16x4_t all = {{bytes_of(x), bytes_of(x + 4), bytes_of(x + 8), bytes_of(x + 12)}};
  return vreinterpretq_f32_u8(vqtbl4q_u8(all, bytes));
}

template <std::size_t group>
struct Nm {
  template <class Weights, std::size_t rows>
  static void run(const PanelShape& shape, const std::uint8_t* panel, const float* x,
                  float* out) noexcept {
    constexpr std::size_t parts = Weights::kParts, bits = group == 4 ? 2 : 4;
    constexpr std::size_t kGroups = kBlockColumns / group;
    const std::size_t stride = shape.batch * kBlockColumns;
    Sums<rows> sums;
    const std::uint8_t* positions = panel;
    for (std::size_t first = 0; first < shape.blocks * kGroups; first += parts) {
      if (first % (kChunkBlocks * kGroups) == 0) {
        positions = panel;
        panel += chunk_position_bytes(group, shape.kept);
      }
      for (std::size_t j = 0; j < shape.kept; ++j) {
        Lanes weights[parts];
        Weights::parts(panel, weights);
        for (std::size_t p = 0; p < parts; ++p) {
          const std::size_t i = first + p;
          const float* const x_of = x + i / kGroups * stride + i % kGroups * group;
          uint8x16_t bytes[kQuarters];
          for (std::size_t q = 0; q < kQuarters; ++q) {
            bytes[q] = bytes_at(positions_of<parts, bits>(positions, p, q));
          }
          sums.add(weights[p], [&](std::size_t b, std::size_t q) {
            return picked<group>(x_of + b * kBlockColumns, bytes[q]);
          });
        }
        positions += position_bytes(parts, bits);
        panel += kRegisterBytes;
      }
    }
    sums.store(out);
  }
};

}  // namespace

const PanelProducts panel_nm4 = kProductsOf<Nm<4>>;
const PanelProducts panel_nm16 = kProductsOf<Nm<16>>;

}  // namespace prunepack::neon
