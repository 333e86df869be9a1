// above_mask and bracket_mask, NEON: 64 elements a step, a word of mask.
#include "neon.h"
#include "tables.h"

namespace prunepack::neon {
namespace {

std::size_t bits_set(std::uint64_t bits) noexcept {
  return static_cast<std::size_t>(__builtin_popcountll(bits));
}

// Calls body(block of weights, its first element, how many of its elements there are, their bits in
// a word), and the last block is padded.
template <class Bits, class Body>
void for_blocks(const Bits* weights, std::size_t count, const Body& body) noexcept {
  std::size_t i = 0;
  for (; i + kBlock <= count; i += kBlock) body(weights + i, i, kBlock, ~std::uint64_t{0});
  if (i < count) {
    const PaddedBlock<Bits> rest(weights + i, count - i);
    body(rest.data(), i, count - i, low_bits(~std::uint64_t{0}, count - i));
  }
}

void store_bits(std::uint8_t* mask, std::size_t first, std::size_t count,
                std::uint64_t bits) noexcept {
  std::memcpy(mask + first / 8, &bits, (count + 7) / 8);
}

template <class E>
constexpr std::uint64_t kMostBits = static_cast<typename E::Bits>(~typename E::Bits{0});

// A key that no lane can hold is one that nothing is above or equal to.
template <class E>
typename E::Bits lane_of(std::uint64_t key) noexcept {
  return static_cast<typename E::Bits>(key < kMostBits<E> ? key : kMostBits<E>);
}

template <class E>
std::size_t above_mask_of(const void* weights, std::size_t count, std::uint64_t key,
                          std::uint8_t* mask) noexcept {
  const auto limit = splat(lane_of<E>(key));
  std::size_t kept = 0;
  for_blocks(static_cast<const typename E::Bits*>(weights), count,
             [&](const auto* block, std::size_t first, std::size_t size, std::uint64_t there) {
               const std::uint64_t bits =
                   there & test_block<E>(block, [&](auto keys) { return above(keys, limit); });
               store_bits(mask, first, size, bits);
               kept += bits_set(bits);
             });
  return kept;
}

template <class E>
Above bracket_mask_of(const void* weights, std::size_t count, std::uint64_t low, std::uint64_t high,
                      std::uint8_t* mask, void* keys, std::uint16_t* positions) noexcept {
  using Bits = typename E::Bits;
  const auto lowest = splat(lane_of<E>(low)), highest = splat(lane_of<E>(high));
  const bool can_be_inside = low <= kMostBits<E>;
  auto* inside = static_cast<Bits*>(keys);
  Above counts{0, 0};
  for_blocks(static_cast<const Bits*>(weights), count,
             [&](const Bits* block, std::size_t first, std::size_t size, std::uint64_t there) {
               const std::uint64_t bits = there & test_block<E>(block, [&](auto keys_x) {
                                            return above(keys_x, highest);
                                          });
               store_bits(mask, first, size, bits);
               counts.above += bits_set(bits);
               if (!can_be_inside) return;

               // A few of a hundred are inside, so they are visited one by one.
               std::uint64_t left = there & ~bits & test_block<E>(block, [&](auto keys_x) {
                                      return at_least(keys_x, lowest);
                                    });
               for (; left != 0; left &= left - 1) {
                 const auto i = static_cast<std::size_t>(__builtin_ctzll(left));
                 inside[counts.tied] = E::key(block[i]);
                 positions[counts.tied] = static_cast<std::uint16_t>(first + i);
                 ++counts.tied;
               }
             });
  return counts;
}

}  // namespace

const PerDtype<AboveMask> above_mask = PRUNEPACK_PER_ELEMENT(above_mask_of);
const PerDtype<BracketMask> bracket_mask = PRUNEPACK_PER_ELEMENT(bracket_mask_of);

}  // namespace prunepack::neon
