// nm_mask, NEON. Groups of 2, 4, 8 and 16 are ranked by comparing all pairs, a group a lane; others
// are cut by a threshold, found from the one of the group before.
#include "neon.h"
#include "tables.h"

namespace prunepack::neon {
namespace {

uint8x16_t equal(uint8x16_t a, uint8x16_t b) noexcept { return vceqq_u8(a, b); }
uint16x8_t equal(uint16x8_t a, uint16x8_t b) noexcept { return vceqq_u16(a, b); }
uint32x4_t equal(uint32x4_t a, uint32x4_t b) noexcept { return vceqq_u32(a, b); }
uint64x2_t equal(uint64x2_t a, uint64x2_t b) noexcept { return vceqq_u64(a, b); }

// The even lanes of a and then of b, and the odd ones.
uint8x16_t evens(uint8x16_t a, uint8x16_t b) noexcept { return vuzp1q_u8(a, b); }
uint16x8_t evens(uint16x8_t a, uint16x8_t b) noexcept { return vuzp1q_u16(a, b); }
uint32x4_t evens(uint32x4_t a, uint32x4_t b) noexcept { return vuzp1q_u32(a, b); }
uint64x2_t evens(uint64x2_t a, uint64x2_t b) noexcept { return vuzp1q_u64(a, b); }

uint8x16_t odds(uint8x16_t a, uint8x16_t b) noexcept { return vuzp2q_u8(a, b); }
uint16x8_t odds(uint16x8_t a, uint16x8_t b) noexcept { return vuzp2q_u16(a, b); }
uint32x4_t odds(uint32x4_t a, uint32x4_t b) noexcept { return vuzp2q_u32(a, b); }
uint64x2_t odds(uint64x2_t a, uint64x2_t b) noexcept { return vuzp2q_u64(a, b); }

// Element j of `size` groups that lie one after the other, in lane g of registers[j] for group g:
// from registers in memory order.
template <std::size_t size, class Vector>
void one_group_per_lane(Vector* registers) noexcept {
  if constexpr (size > 1) {
    Vector halves[size];
#pragma GCC unroll 8
    for (std::size_t i = 0; i < size / 2; ++i) {
      halves[i] = evens(registers[2 * i], registers[2 * i + 1]);
      halves[size / 2 + i] = odds(registers[2 * i], registers[2 * i + 1]);
    }
    one_group_per_lane<size / 2>(halves);
    one_group_per_lane<size / 2>(halves + size / 2);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < size / 2; ++i) {
      registers[2 * i] = halves[i];
      registers[2 * i + 1] = halves[size / 2 + i];
    }
  }
}

template <std::size_t m>
inline constexpr std::size_t kBytesPerGroup = (m + 7) / 8;

// The mask of as many groups as a register has lanes, a group a lane: words[b] has the bits of
// elements 8 * b to 8 * b + 7.
template <class E, std::size_t m>
void rank_groups(const typename E::Bits* weights, typename E::Bits n,
                 Register<typename E::Bits>* words) noexcept {
  using Bits = typename E::Bits;
  Register<Bits> keys[m], rank[m];
#pragma GCC unroll 16
  for (std::size_t j = 0; j < m; ++j) keys[j] = keys_at<E>(weights + j * kLanes<Bits>);
  one_group_per_lane<m>(keys);

  // The rank of an element is how many go before it. Each begins as if it came after all that
  // follow it, and every pair in order moves one from the earlier to the later. Truth is -1.
#pragma GCC unroll 16
  for (std::size_t j = 0; j < m; ++j) rank[j] = splat(static_cast<Bits>(m - 1 - j));
#pragma GCC unroll 16
  for (std::size_t j = 1; j < m; ++j) {
#pragma GCC unroll 16
    for (std::size_t i = 0; i < j; ++i) {
      const Register<Bits> in_order = at_least(keys[j], keys[i]);
      rank[i] = rank[i] + in_order;
      rank[j] = rank[j] - in_order;
    }
  }
  for (std::size_t b = 0; b < kBytesPerGroup<m>; ++b) words[b] = splat(Bits{0});
#pragma GCC unroll 16
  for (std::size_t j = 0; j < m; ++j) {
    const Register<Bits> kept = at_least(rank[j], splat(n));
    words[j / 8] = words[j / 8] + (kept & splat(static_cast<Bits>(1u << j % 8)));
  }
}

inline constexpr std::size_t kGroups = 16;  // a step

// The mask bytes of 16 groups of m elements, from a byte (or two) for each.
template <std::size_t m>
void store_groups(std::uint8_t* mask, const uint8x16_t* groups) noexcept {
  if constexpr (m == 16) {
    const uint8x16x2_t bytes = {{groups[0], groups[1]}};
    vst2q_u8(mask, bytes);
  } else if constexpr (m == 8) {
    vst1q_u8(mask, groups[0]);
  } else {
    uint16x8_t pairs = vreinterpretq_u16_u8(groups[0]);
    if constexpr (m == 4) {
      vst1_u8(mask, vmovn_u16(vsraq_n_u16(pairs, pairs, 4)));
    } else {  // two bits each: first to four bits in a byte
      const uint8x8_t fours = vmovn_u16(vsraq_n_u16(pairs, pairs, 6));
      pairs = vreinterpretq_u16_u8(vcombine_u8(fours, fours));
      const uint32x2_t bits = vreinterpret_u32_u8(vmovn_u16(vsraq_n_u16(pairs, pairs, 4)));
      const std::uint32_t word = vget_lane_u32(bits, 0);
      std::memcpy(mask, &word, sizeof word);
    }
  }
}

template <class E, std::size_t m>
void rank_16_groups(const typename E::Bits* weights, typename E::Bits n,
                    std::uint8_t* mask) noexcept {
  using Bits = typename E::Bits;
  Register<Bits> words[kBytesPerGroup<m>][sizeof(Bits)];
  for (std::size_t i = 0; i < sizeof(Bits); ++i) {
    Register<Bits> of_part[kBytesPerGroup<m>];
    rank_groups<E, m>(weights + i * m * kLanes<Bits>, n, of_part);
    for (std::size_t b = 0; b < kBytesPerGroup<m>; ++b) words[b][i] = of_part[b];
  }
  uint8x16_t groups[kBytesPerGroup<m>];
  for (std::size_t b = 0; b < kBytesPerGroup<m>; ++b) groups[b] = low_bytes(words[b]);
  store_groups<m>(mask, groups);
}

template <class E, std::size_t m>
void mask_by_ranks(const typename E::Bits* weights, std::size_t groups, std::size_t n,
                   std::uint8_t* mask) noexcept {
  using Bits = typename E::Bits;
  const Bits pruned = static_cast<Bits>(n);
  std::size_t g = 0;
  for (; g + kGroups <= groups; g += kGroups) {
    rank_16_groups<E, m>(weights + g * m, pruned, mask + g * m / 8);
  }
  if (g == groups) return;
  Bits block[kGroups * m] = {};
  std::uint8_t bits[kGroups * m / 8];
  const std::size_t count = (groups - g) * m, bytes = (count + 7) / 8;
  std::memcpy(block, weights + g * m, count * sizeof(Bits));
  rank_16_groups<E, m>(block, pruned, bits);
  std::uint8_t& last = bits[bytes - 1];
  if (count % 8 != 0) last = static_cast<std::uint8_t>(low_bits(last, count % 8));
  std::memcpy(mask + g * m / 8, bits, bytes);
}

// Writes bits one run after the other, from the start of a byte on.
class BitStream {
 public:
  explicit BitStream(std::uint8_t* mask) noexcept : out_(mask) {}

  // The low `count` <= 64 bits; the others are 0.
  void append(std::uint64_t bits, std::size_t count) noexcept {
    word_ |= bits << held_;
    if (held_ + count < 64) {
      held_ += count;
      return;
    }
    std::memcpy(out_, &word_, sizeof word_);
    out_ += sizeof word_;
    word_ = held_ == 0 ? 0 : bits >> (64 - held_);
    held_ = held_ + count - 64;
  }

  void finish() noexcept { std::memcpy(out_, &word_, (held_ + 7) / 8); }

 private:
  std::uint8_t* out_;
  std::uint64_t word_ = 0;
  std::size_t held_ = 0;
};

std::size_t sum(uint8x16_t lanes) noexcept { return vaddlvq_u8(lanes); }
std::size_t sum(uint16x8_t lanes) noexcept { return vaddlvq_u16(lanes); }
std::size_t sum(uint32x4_t lanes) noexcept { return vaddlvq_u32(lanes); }
std::size_t sum(uint64x2_t lanes) noexcept { return vaddvq_u64(lanes); }

// A group of any size: whole blocks where they are, and the rest padded with zeros, which are never
// above a key.
template <class E>
class Group {
 public:
  using Bits = typename E::Bits;

  Group(const Bits* weights, std::size_t m) noexcept
      : weights_(weights),
        whole_(m / kBlock * kBlock),
        rest_(m % kBlock),
        padded_(weights + whole_, rest_) {}

  std::size_t count_above(Bits key) const noexcept {
    const std::size_t rest = (rest_ + kLanes<Bits> - 1) / kLanes<Bits> * kLanes<Bits>;
    return count_above(weights_, whole_, key) + count_above(padded_.data(), rest, key);
  }

  // Keeps what is above `key` and, of what is equal to it, all but the first `pruned_ties`.
  void append_to(BitStream& stream, Bits key, std::size_t pruned_ties) const noexcept {
    for (std::size_t i = 0; i < whole_; i += kBlock) {
      stream.append(kept(weights_ + i, kBlock, key, pruned_ties), kBlock);
    }
    if (rest_ > 0) {
      stream.append(low_bits(kept(padded_.data(), rest_, key, pruned_ties), rest_), rest_);
    }
  }

 private:
  // Of `count` weights, whole registers. The lanes are added up before a byte could overflow.
  static std::size_t count_above(const Bits* weights, std::size_t count, Bits key) noexcept {
    const Register<Bits> limit = splat(key);
    std::size_t total = 0;
    while (count > 0) {
      const std::size_t run = count < 255 * kLanes<Bits> ? count : 255 * kLanes<Bits>;
      Register<Bits> found = splat(Bits{0});
      for (std::size_t i = 0; i < run; i += kLanes<Bits>) {
        found = found - above(keys_at<E>(weights + i), limit);
      }
      total += sum(found);
      weights += run;
      count -= run;
    }
    return total;
  }

  static std::uint64_t kept(const Bits* block, std::size_t size, Bits key,
                            std::size_t& pruned_ties) noexcept {
    const Register<Bits> limit = splat(key);
    if (pruned_ties == 0) {
      return test_block<E>(block, [&](auto keys) { return at_least(keys, limit); });
    }
    const std::uint64_t bits = test_block<E>(block, [&](auto keys) { return above(keys, limit); });
    std::uint64_t ties = test_block<E>(block, [&](auto keys) { return equal(keys, limit); });
    if (size < kBlock) ties = low_bits(ties, size);
    for (; ties != 0 && pruned_ties > 0; --pruned_ties) ties &= ties - 1;
    return bits | ties;
  }

  const Bits* weights_;
  std::size_t whole_, rest_;
  PaddedBlock<Bits> padded_;
};

// Where to cut a group: keys below `key` are pruned, and so are the first `pruned_ties` equal to
// it.
template <class Bits>
struct Cut {
  Bits key;
  std::size_t pruned_ties;
};

// Finds the cuts of groups of one tensor. The cuts of neighbours are close to each other, so the
// search begins at the last one, with steps as long as the distance between the last ones.
template <class E>
class CutSearch {
 public:
  using Bits = typename E::Bits;

  CutSearch(std::size_t m, std::size_t kept) noexcept : m_(m), kept_(kept) {}

  // At least one weight is kept and one is pruned.
  Cut<Bits> find(const Group<E>& group) noexcept {
    // The threshold is the smallest key that no more weights are above than are kept.
    Bits low = 0, high = E::kMaxKey;
    bool from_below = false, from_above = false;
    Bits probe = last_, step = step_;
    while (low < high) {
      const std::size_t count = group.count_above(probe);
      if (count == kept_) {  // nothing that is kept is tied with anything that is pruned
        moved_to(probe);
        return {static_cast<Bits>(probe + 1), 0};
      }
      if (count < kept_) {
        high = probe;
        from_above = true;
      } else {
        low = static_cast<Bits>(probe + 1);
        from_below = true;
      }
      // Until the threshold is between two probes the steps double; then the range is halved.
      if (from_below && from_above) {
        probe = static_cast<Bits>(low + (high - low) / 2);
      } else if (from_above) {
        probe = high - low > step ? static_cast<Bits>(high - step) : low;
      } else {
        probe = high - low > step ? static_cast<Bits>(low + step) : static_cast<Bits>(high - 1);
      }
      step = step > E::kMaxKey / 2 ? E::kMaxKey : static_cast<Bits>(2 * step);
    }
    moved_to(low);
    const std::size_t tied_or_above = low == 0 ? m_ : group.count_above(static_cast<Bits>(low - 1));
    return {low, tied_or_above - kept_};
  }

 private:
  void moved_to(Bits key) noexcept {
    const Bits distance = static_cast<Bits>(key > last_ ? key - last_ : last_ - key);
    step_ = static_cast<Bits>((step_ / 2 + distance / 2) | 1);
    last_ = key;
  }

  std::size_t m_, kept_;
  Bits last_ = E::kMaxKey / 2, step_ = E::kMaxKey / 8;
};

template <class E>
void mask_by_cuts(const typename E::Bits* weights, std::size_t groups, std::size_t n, std::size_t m,
                  std::uint8_t* mask) noexcept {
  CutSearch<E> search(m, m - n);
  BitStream stream(mask);
  for (std::size_t g = 0; g < groups; ++g) {
    const Group<E> group(weights + g * m, m);
    const Cut<typename E::Bits> cut = search.find(group);
    group.append_to(stream, cut.key, cut.pruned_ties);
  }
  stream.finish();
}

template <class E>
void nm_mask_of(const void* weights, std::size_t groups, std::size_t n, std::size_t m,
                std::uint8_t* mask) noexcept {
  const auto* bits = static_cast<const typename E::Bits*>(weights);
  if (n == 0 || n == m) return fill_bits(mask, groups * m, n == 0);
  switch (m) {
    case 2:
      return mask_by_ranks<E, 2>(bits, groups, n, mask);
    case 4:
      return mask_by_ranks<E, 4>(bits, groups, n, mask);
    case 8:
      return mask_by_ranks<E, 8>(bits, groups, n, mask);
    case 16:
      return mask_by_ranks<E, 16>(bits, groups, n, mask);
    default:
      return mask_by_cuts<E>(bits, groups, n, m, mask);
  }
}

}  // namespace

const PerDtype<NmMask> nm_mask = PRUNEPACK_PER_ELEMENT(nm_mask_of);

}  // namespace prunepack::neon
