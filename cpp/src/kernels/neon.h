// Registers of keys and the bits of their comparisons, for the NEON kernels that rank. In an
// unnamed namespace; key.h says why.
#pragma once

#include <arm_neon.h>

#include "key.h"

namespace prunepack {
namespace {

// One name for each instruction, whatever the lanes. (The compilers' +, - and & work on registers.)
uint8x16_t load(const std::uint8_t* from) noexcept { return vld1q_u8(from); }
uint16x8_t load(const std::uint16_t* from) noexcept { return vld1q_u16(from); }
uint32x4_t load(const std::uint32_t* from) noexcept { return vld1q_u32(from); }
uint64x2_t load(const std::uint64_t* from) noexcept { return vld1q_u64(from); }

uint8x16_t splat(std::uint8_t value) noexcept { return vdupq_n_u8(value); }
uint16x8_t splat(std::uint16_t value) noexcept { return vdupq_n_u16(value); }
uint32x4_t splat(std::uint32_t value) noexcept { return vdupq_n_u32(value); }
uint64x2_t splat(std::uint64_t value) noexcept { return vdupq_n_u64(value); }

// Comparisons give lanes of all ones (true) or all zeros.
uint8x16_t above(uint8x16_t a, uint8x16_t b) noexcept { return vcgtq_u8(a, b); }
uint16x8_t above(uint16x8_t a, uint16x8_t b) noexcept { return vcgtq_u16(a, b); }
uint32x4_t above(uint32x4_t a, uint32x4_t b) noexcept { return vcgtq_u32(a, b); }
uint64x2_t above(uint64x2_t a, uint64x2_t b) noexcept { return vcgtq_u64(a, b); }

uint8x16_t at_least(uint8x16_t a, uint8x16_t b) noexcept { return vcgeq_u8(a, b); }
uint16x8_t at_least(uint16x8_t a, uint16x8_t b) noexcept { return vcgeq_u16(a, b); }
uint32x4_t at_least(uint32x4_t a, uint32x4_t b) noexcept { return vcgeq_u32(a, b); }
uint64x2_t at_least(uint64x2_t a, uint64x2_t b) noexcept { return vcgeq_u64(a, b); }

// The low bytes of 16 lanes, from as many registers as hold them.
uint8x16_t low_bytes(const uint8x16_t* lanes) noexcept { return lanes[0]; }
uint8x16_t low_bytes(const uint16x8_t* lanes) noexcept {
  return vuzp1q_u8(vreinterpretq_u8_u16(lanes[0]), vreinterpretq_u8_u16(lanes[1]));
}
uint8x16_t low_bytes(const uint32x4_t* lanes) noexcept {
  const uint16x8_t halves[] = {
      vuzp1q_u16(vreinterpretq_u16_u32(lanes[0]), vreinterpretq_u16_u32(lanes[1])),
      vuzp1q_u16(vreinterpretq_u16_u32(lanes[2]), vreinterpretq_u16_u32(lanes[3]))};
  return low_bytes(halves);
}
uint8x16_t low_bytes(const uint64x2_t* lanes) noexcept {
  uint32x4_t halves[4];
  for (int i = 0; i < 4; ++i) {
    halves[i] =
        vuzp1q_u32(vreinterpretq_u32_u64(lanes[2 * i]), vreinterpretq_u32_u64(lanes[2 * i + 1]));
  }
  return low_bytes(halves);
}

template <class Bits>
using Register = decltype(load(static_cast<const Bits*>(nullptr)));

template <class Bits>
inline constexpr std::size_t kLanes = 16 / sizeof(Bits);

template <class Bits, Kind kind>
Register<Bits> keys_of(Element<Bits, kind>, Register<Bits> weights) noexcept {
  if constexpr (kind == Kind::clear_sign) {
    return weights & splat(Element<Bits, kind>::kMaxKey);
  } else if constexpr (kind == Kind::absolute) {  // of bytes; -128 wraps to 128, as it should
    return vreinterpretq_u8_s8(vabsq_s8(vreinterpretq_s8_u8(weights)));
  } else {
    return weights;
  }
}

template <class E>
Register<typename E::Bits> keys_at(const typename E::Bits* weights) noexcept {
  return keys_of(E{}, load(weights));
}

// A block is 64 elements: the bits of their comparisons fill a word.
inline constexpr std::size_t kBlock = 64;

// Bit i is test(key of weights[i]), for a block.
template <class E, class Test>
std::uint64_t test_block(const typename E::Bits* weights, const Test& test) noexcept {
  using Bits = typename E::Bits;
  constexpr std::uint8_t kBitOfLane[16] = {1, 2, 4, 8, 16, 32, 64, 128,
                                           1, 2, 4, 8, 16, 32, 64, 128};
  uint8x16_t bits[4];
#pragma GCC unroll 4
  for (std::size_t quarter = 0; quarter < 4; ++quarter) {
    Register<Bits> verdicts[sizeof(Bits)];
#pragma GCC unroll 8
    for (std::size_t i = 0; i < sizeof(Bits); ++i) {
      verdicts[i] = test(keys_at<E>(weights + 16 * quarter + i * kLanes<Bits>));
    }
    bits[quarter] = vandq_u8(low_bytes(verdicts), vld1q_u8(kBitOfLane));
  }
  // Three rounds of adding neighbours leave one byte for every eight lanes.
  const uint8x16_t pairs_0 = vpaddq_u8(bits[0], bits[1]), pairs_1 = vpaddq_u8(bits[2], bits[3]);
  const uint8x16_t fours = vpaddq_u8(pairs_0, pairs_1);
  return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(fours, fours)), 0);
}

// The last elements of a run, fewer than a block, as a block that ends in zeros, so that it can be
// loaded whole.
template <class Bits>
class PaddedBlock {
 public:
  PaddedBlock(const Bits* weights, std::size_t count) noexcept {
    std::memcpy(block_, weights, count * sizeof(Bits));
  }
  const Bits* data() const noexcept { return block_; }

 private:
  Bits block_[kBlock] = {};
};

// The low `count` < 64 bits.
std::uint64_t low_bits(std::uint64_t bits, std::size_t count) noexcept {
  return bits & ((std::uint64_t{1} << count) - 1);
}

}  // namespace
}  // namespace prunepack
