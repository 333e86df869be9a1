// compress, expand, apply_mask and count_bits, scalar: the definition the other ISAs are tested
// against.
#include <cstring>

#include "key.h"
#include "tables.h"

namespace prunepack::scalar {
namespace {

bool kept_at(const std::uint8_t* mask, std::size_t i) noexcept { return mask[i / 8] >> i % 8 & 1; }

template <class Bits>
void compress_of(const void* weights, const std::uint8_t* mask, std::size_t count, std::size_t,
                 void* values) noexcept {
  const auto* in = static_cast<const Bits*>(weights);
  auto* out = static_cast<Bits*>(values);
  for (std::size_t i = 0; i < count; ++i) {
    if (kept_at(mask, i)) *out++ = in[i];
  }
}

template <class Bits>
void expand_of(const std::uint8_t* mask, const void* values, std::size_t kept, std::size_t count,
               void* weights) noexcept {
  const auto* in = static_cast<const Bits*>(values);
  const Bits* const end = in + kept;
  auto* out = static_cast<Bits*>(weights);
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = kept_at(mask, i) && in < end ? *in++ : Bits{0};
  }
}

template <class Bits>
void apply_mask_of(const void* weights, const std::uint8_t* mask, std::size_t count,
                   void* out) noexcept {
  const auto* from = static_cast<const Bits*>(weights);
  auto* to = static_cast<Bits*>(out);
  for (std::size_t i = 0; i < count; ++i) to[i] = kept_at(mask, i) ? from[i] : Bits{0};
}

}  // namespace

const PerDtype<Compress> compress = PRUNEPACK_PER_WIDTH(compress_of);
const PerDtype<Expand> expand = PRUNEPACK_PER_WIDTH(expand_of);
const PerDtype<ApplyMask> apply_mask = PRUNEPACK_PER_WIDTH(apply_mask_of);

std::size_t count_bits(const std::uint8_t* mask, std::size_t bytes) noexcept {
  std::size_t set = 0;
  for (; bytes >= 8; bytes -= 8, mask += 8) {
    std::uint64_t word;
    std::memcpy(&word, mask, sizeof word);
    set += static_cast<std::size_t>(__builtin_popcountll(word));
  }
  for (; bytes > 0; --bytes) set += static_cast<std::size_t>(__builtin_popcount(*mask++));
  return set;
}

}  // namespace prunepack::scalar
