// above_mask and bracket_mask, scalar: the definition the other ISAs are tested against.
#include <cstring>

#include "key.h"
#include "tables.h"

namespace prunepack::scalar {
namespace {

void put(std::uint8_t* mask, std::size_t i, bool bit) noexcept {
  if (i % 8 == 0) mask[i / 8] = 0;
  mask[i / 8] = static_cast<std::uint8_t>(mask[i / 8] | unsigned{bit} << i % 8);
}

template <class E>
std::size_t above_mask_of(const void* weights, std::size_t count, std::uint64_t key,
                          std::uint8_t* mask) noexcept {
  const auto* bits = static_cast<const typename E::Bits*>(weights);
  std::size_t above = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const bool keep = E::key(bits[i]) > key;
    put(mask, i, keep);
    above += keep;
  }
  return above;
}

template <class E>
Above bracket_mask_of(const void* weights, std::size_t count, std::uint64_t low, std::uint64_t high,
                      std::uint8_t* mask, void* keys, std::uint16_t* positions) noexcept {
  using Bits = typename E::Bits;
  const auto* bits = static_cast<const Bits*>(weights);
  auto* inside = static_cast<Bits*>(keys);
  Above counts{0, 0};
  for (std::size_t i = 0; i < count; ++i) {
    const Bits key = E::key(bits[i]);
    put(mask, i, key > high);
    counts.above += key > high;
    if (key < low || key > high) continue;
    inside[counts.tied] = key;
    positions[counts.tied] = static_cast<std::uint16_t>(i);
    ++counts.tied;
  }
  return counts;
}

}  // namespace

const PerDtype<AboveMask> above_mask = PRUNEPACK_PER_ELEMENT(above_mask_of);
const PerDtype<BracketMask> bracket_mask = PRUNEPACK_PER_ELEMENT(bracket_mask_of);

}  // namespace prunepack::scalar
