// compress, expand, apply_mask and count_bits, NEON: a byte shuffle for every run of mask bits that
// fills a register.
#include <arm_neon.h>

#include <cstring>

#include "key.h"
#include "tables.h"

namespace prunepack::neon {
namespace {

// A field is the mask bits of one register: 8 elements of 8 or 16 bits, 4 of 32 or 2 of 64.
template <class Bits>
inline constexpr std::size_t kField = sizeof(Bits) <= 2 ? 8 : 16 / sizeof(Bits);

// A block is eight fields: their bits fill the bytes of a word.
template <class Bits>
inline constexpr std::size_t kBlock = 8 * kField<Bits>;

// For every field, where each byte of the register comes from; out of range gives 0.
template <class Bits>
struct Shuffles {
  static constexpr std::size_t kBytes = kField<Bits> * sizeof(Bits);
  std::uint8_t compress[1 << kField<Bits>][kBytes];
  std::uint8_t expand[1 << kField<Bits>][kBytes];
};

template <class Bits>
constexpr Shuffles<Bits> make_shuffles() noexcept {
  Shuffles<Bits> shuffles{};
  for (std::size_t field = 0; field < std::size_t{1} << kField<Bits>; ++field) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < kField<Bits>; ++i) {
      for (std::size_t byte = 0; byte < sizeof(Bits); ++byte) {
        const std::size_t here = i * sizeof(Bits) + byte, packed = kept * sizeof(Bits) + byte;
        shuffles.expand[field][here] = 0xff;
        if ((field >> i & 1) == 0) continue;
        shuffles.expand[field][here] = static_cast<std::uint8_t>(packed);
        shuffles.compress[field][packed] = static_cast<std::uint8_t>(here);
      }
      kept += field >> i & 1;
    }
  }
  return shuffles;
}

template <class Bits>
constexpr Shuffles<Bits> kShuffles = make_shuffles<Bits>();

// Stores the bytes of a register of `from` in the order that `shuffle` says.
template <class Bits>
void shuffle(const Bits* from, const std::uint8_t* order, Bits* to) noexcept {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(from);
  auto* out = reinterpret_cast<std::uint8_t*>(to);
  if constexpr (sizeof(Bits) == 1) {
    vst1_u8(out, vtbl1_u8(vld1_u8(bytes), vld1_u8(order)));
  } else {
    vst1q_u8(out, vqtbl1q_u8(vld1q_u8(bytes), vld1q_u8(order)));
  }
}

// The eight fields of a block, and how many bits are set before each of them.
class Fields {
 public:
  template <class Bits>
  static Fields of(const std::uint8_t* mask) noexcept {
    std::uint64_t word = 0;
    std::memcpy(&word, mask, kField<Bits>);
    if constexpr (kField<Bits> == 4) {
      word = (word | word << 16) & 0x0000ffff0000ffff;
      word = (word | word << 8) & 0x00ff00ff00ff00ff;
      word = (word | word << 4) & 0x0f0f0f0f0f0f0f0f;
    } else if constexpr (kField<Bits> == 2) {
      word = (word | word << 24) & 0x000000ff000000ff;
      word = (word | word << 12) & 0x000f000f000f000f;
      word = (word | word << 6) & 0x0303030303030303;
    }
    return Fields(word);
  }

  std::size_t field(std::size_t i) const noexcept { return fields_ >> 8 * i & 0xff; }
  std::size_t set_before(std::size_t i) const noexcept {
    return i == 0 ? 0 : set_ >> 8 * (i - 1) & 0xff;
  }
  std::size_t set() const noexcept { return set_ >> 56; }

 private:
  // The multiplication adds to each byte all bytes below it; the sum is at most 64.
  explicit Fields(std::uint64_t fields) noexcept
      : fields_(fields),
        set_(vget_lane_u64(vreinterpret_u64_u8(vcnt_u8(vcreate_u8(fields))), 0) *
             0x0101010101010101) {}

  std::uint64_t fields_, set_;
};

// Calls body(i) for every set bit of those from `first` on, which is a multiple of 8, to `count`.
template <class Body>
void for_set_bits(const std::uint8_t* mask, std::size_t first, std::size_t count,
                  const Body& body) noexcept {
  for (; first < count; first += 8) {
    unsigned bits = mask[first / 8];
    if (count - first < 8) bits &= (1u << (count - first)) - 1;
    for (; bits != 0; bits &= bits - 1) {
      body(first + static_cast<std::size_t>(__builtin_ctz(bits)));
    }
  }
}

// Whole registers are stored as long as there is room for them whatever the mask.
template <class Bits>
void compress_of(const void* weights, const std::uint8_t* mask, std::size_t count, std::size_t kept,
                 void* values) noexcept {
  const auto* in = static_cast<const Bits*>(weights);
  auto *out = static_cast<Bits*>(values), *end = out + kept;
  std::size_t i = 0;
  for (; i + kBlock<Bits> <= count && static_cast<std::size_t>(end - out) >= kBlock<Bits>;
       i += kBlock<Bits>) {
    const Fields fields = Fields::of<Bits>(mask + i / 8);
#pragma GCC unroll 8
    for (std::size_t f = 0; f < 8; ++f) {
      shuffle(in + i + f * kField<Bits>, kShuffles<Bits>.compress[fields.field(f)],
              out + fields.set_before(f));
    }
    out += fields.set();
  }
  for_set_bits(mask, i, count, [&](std::size_t at) { *out++ = in[at]; });
}

// Whole registers are loaded as long as there are values for them whatever the mask.
template <class Bits>
void expand_of(const std::uint8_t* mask, const void* values, std::size_t kept, std::size_t count,
               void* weights) noexcept {
  const auto *in = static_cast<const Bits*>(values), *end = in + kept;
  auto* out = static_cast<Bits*>(weights);
  std::size_t i = 0;
  for (; i + kBlock<Bits> <= count && static_cast<std::size_t>(end - in) >= kBlock<Bits>;
       i += kBlock<Bits>) {
    const Fields fields = Fields::of<Bits>(mask + i / 8);
#pragma GCC unroll 8
    for (std::size_t f = 0; f < 8; ++f) {
      shuffle(in + fields.set_before(f), kShuffles<Bits>.expand[fields.field(f)],
              out + i + f * kField<Bits>);
    }
    in += fields.set();
  }
  std::memset(out + i, 0, (count - i) * sizeof(Bits));
  for_set_bits(mask, i, count, [&](std::size_t at) {
    if (in < end) out[at] = *in++;
  });
}

// Lanes of all ones where the bit is 1: of 16 elements, for the register that holds those from
// `part` * lanes on.
template <class Bits>
uint8x16_t lanes_of(std::uint16_t bits, std::size_t part) noexcept {
  if constexpr (sizeof(Bits) == 1) {
    constexpr std::uint8_t kBit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x8_t low = vdup_n_u8(static_cast<std::uint8_t>(bits));
    const uint8x8_t high = vdup_n_u8(static_cast<std::uint8_t>(bits >> 8));
    return vtstq_u8(vcombine_u8(low, high), vld1q_u8(kBit));
  } else if constexpr (sizeof(Bits) == 2) {
    constexpr std::uint16_t kBit[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    const auto here = static_cast<std::uint16_t>(bits >> 8 * part);
    return vreinterpretq_u8_u16(vtstq_u16(vdupq_n_u16(here), vld1q_u16(kBit)));
  } else if constexpr (sizeof(Bits) == 4) {
    constexpr std::uint32_t kBit[4] = {1, 2, 4, 8};
    const std::uint32_t here = std::uint32_t{bits} >> 4 * part;
    return vreinterpretq_u8_u32(vtstq_u32(vdupq_n_u32(here), vld1q_u32(kBit)));
  } else {
    constexpr std::uint64_t kBit[2] = {1, 2};
    const std::uint64_t here = std::uint64_t{bits} >> 2 * part;
    return vreinterpretq_u8_u64(vtstq_u64(vdupq_n_u64(here), vld1q_u64(kBit)));
  }
}

template <class Bits>
void apply_mask_of(const void* weights, const std::uint8_t* mask, std::size_t count,
                   void* out) noexcept {
  constexpr std::size_t kLanes = 16 / sizeof(Bits);
  const auto* from = static_cast<const Bits*>(weights);
  auto* to = static_cast<Bits*>(out);
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    std::uint16_t bits;
    std::memcpy(&bits, mask + i / 8, sizeof bits);
#pragma GCC unroll 8
    for (std::size_t part = 0; part < sizeof(Bits); ++part) {
      const std::size_t first = i + part * kLanes;
      const uint8x16_t elements = vld1q_u8(reinterpret_cast<const std::uint8_t*>(from + first));
      vst1q_u8(reinterpret_cast<std::uint8_t*>(to + first),
               vandq_u8(elements, lanes_of<Bits>(bits, part)));
    }
  }
  for (; i < count; ++i) to[i] = mask[i / 8] >> i % 8 & 1 ? from[i] : Bits{0};
}

// Of 64 bytes: at most 32 in each byte before they are added up.
std::size_t bits_set_in_64(const std::uint8_t* mask) noexcept {
  const uint8x16_t low = vaddq_u8(vcntq_u8(vld1q_u8(mask)), vcntq_u8(vld1q_u8(mask + 16)));
  const uint8x16_t high = vaddq_u8(vcntq_u8(vld1q_u8(mask + 32)), vcntq_u8(vld1q_u8(mask + 48)));
  return vaddlvq_u8(vaddq_u8(low, high));
}

}  // namespace

const PerDtype<Compress> compress = PRUNEPACK_PER_WIDTH(compress_of);
const PerDtype<Expand> expand = PRUNEPACK_PER_WIDTH(expand_of);
const PerDtype<ApplyMask> apply_mask = PRUNEPACK_PER_WIDTH(apply_mask_of);

std::size_t count_bits(const std::uint8_t* mask, std::size_t bytes) noexcept {
  std::size_t set = 0;
  for (; bytes >= 64; bytes -= 64, mask += 64) set += bits_set_in_64(mask);
  std::uint8_t rest[64] = {};
  std::memcpy(rest, mask, bytes);
  return set + bits_set_in_64(rest);
}

}  // namespace prunepack::neon
