// above_mask and bracket_mask, AVX2: a word of 32 elements a step.
#include "avx2.h"
#include "hits.h"
#include "tables.h"

namespace prunepack::avx2 {
namespace {

// Which of 32 elements are above a range of keys, and which are inside.
struct Words {
  std::uint32_t above, inside;
};

template <class E>
PRUNEPACK_INLINE std::uint32_t above_word(const typename E::Bits* bits, __m256i key) noexcept {
  using O = Ordered<E>;
  constexpr std::size_t kRegisters = sizeof(typename E::Bits);
  __m256i above[kRegisters];
  for (std::size_t r = 0; r < kRegisters; ++r) {
    above[r] = O::L::above(O::load(bits + r * kStep / kRegisters), key);
  }
  return signs(above);
}

// `inside` is low <= key <= high.
template <class E>
PRUNEPACK_INLINE Words bracket_words(const typename E::Bits* bits, __m256i low,
                                     __m256i high) noexcept {
  using O = Ordered<E>;
  constexpr std::size_t kRegisters = sizeof(typename E::Bits);
  __m256i above[kRegisters], outside[kRegisters];
  for (std::size_t r = 0; r < kRegisters; ++r) {
    const __m256i keys = O::load(bits + r * kStep / kRegisters);
    above[r] = O::L::above(keys, high);
    outside[r] = _mm256_or_si256(above[r], O::L::above(low, keys));
  }
  return {signs(above), ~signs(outside)};
}

// The mask of the non-zeros of bytes, which is what packing asks for: zero compares without a key
// being made, and 64 elements fill a word.
template <class E>
std::size_t nonzero_bytes_mask(const std::uint8_t* bytes, std::size_t words,
                               std::uint8_t* mask) noexcept {
  std::size_t above = 0;
  for (std::size_t w = 0; w < words; ++w) {
    std::uint64_t zeros = 0;
    for (std::size_t half = 0; half < 2; ++half) {
      __m256i lanes = load(bytes + 64 * w + 32 * half);
      if constexpr (E::kMaxKey == 0x7f) lanes = _mm256_add_epi8(lanes, lanes);  // without the sign
      const int equal = _mm256_movemask_epi8(_mm256_cmpeq_epi8(lanes, _mm256_setzero_si256()));
      zeros |= std::uint64_t{static_cast<std::uint32_t>(equal)} << (32 * half);
    }
    const std::uint64_t word = ~zeros;
    std::memcpy(mask + 8 * w, &word, sizeof word);
    above += popcount(word);
  }
  return above;
}

template <class E>
std::size_t above_mask_of(const void* weights, std::size_t count, std::uint64_t key,
                          std::uint8_t* mask) noexcept {
  using O = Ordered<E>;
  const auto* bits = static_cast<const typename E::Bits*>(weights);
  if (key >= O::kHighest) {
    std::memset(mask, 0, (count + 7) / 8);
    return 0;
  }
  const __m256i keys = O::L::all(O::of(key));
  std::size_t above = 0, i = 0;
  if constexpr (sizeof(typename E::Bits) == 1) {
    if (key == 0) {
      above = nonzero_bytes_mask<E>(bits, count / 64, mask);
      i = count / 64 * 64;
    }
  }
  for (; i + kStep <= count; i += kStep) {
    const std::uint32_t word = above_word<E>(bits + i, keys);
    std::memcpy(mask + i / 8, &word, sizeof word);
    above += popcount(word);
  }
  if (i < count) {
    // The zeros after the end have the smallest key, which is above nothing.
    const LastStep<typename E::Bits> last(bits + i, count - i);
    const std::uint32_t word = above_word<E>(last.elements, keys);
    put_last_word(mask + i / 8, word, count - i);
    above += popcount(word);
  }
  return above;
}

// The lists of what is inside the range.
template <class E>
struct Lists {
  using Bits = typename E::Bits;
  Bits* keys;
  std::uint16_t* positions;
  std::size_t count = 0;

  // Appends the elements of `bits` at the bits set in `inside`; the first has position `first`.
  // Four are written whether there are as many or not, which saves a branch nobody can predict;
  // the lists have room for that, and the index stays inside the word.
  PRUNEPACK_INLINE void append(const Bits* bits, std::uint64_t inside,
                               std::uint32_t first) noexcept {
    const std::size_t more = popcount(inside);
    for (std::size_t done = 0;; done += 4) {
      for (std::size_t i = 0; i < 4; ++i) {
        const auto at = static_cast<std::uint32_t>(_tzcnt_u64(inside)) & 63;
        keys[count + done + i] = E::key(bits[at]);
        positions[count + done + i] = static_cast<std::uint16_t>(first + at);
        inside = _blsr_u64(inside);
      }
      if (done + 4 >= more) break;
    }
    count += more;
  }
};

template <class E>
Above bracket_mask_of(const void* weights, std::size_t count, std::uint64_t low, std::uint64_t high,
                      std::uint8_t* mask, void* keys, std::uint16_t* positions) noexcept {
  using O = Ordered<E>;
  using Bits = typename E::Bits;
  const auto* bits = static_cast<const Bits*>(weights);
  if (high > O::kHighest) high = O::kHighest;
  if (low > high) return {above_mask_of<E>(weights, count, high, mask), 0};

  const __m256i lows = O::L::all(O::of(low)), highs = O::L::all(O::of(high));
  Lists<E> lists{static_cast<Bits*>(keys), positions};
  Hits hits;
  std::size_t above = 0, i = 0;
  while (i + 64 <= count) {
    const std::size_t end = i + 64 * Hits::kWords < count ? i + 64 * Hits::kWords : count / 64 * 64;
    for (; i < end; i += 64) {
      const Words one = bracket_words<E>(bits + i, lows, highs);
      const Words two = bracket_words<E>(bits + i + kStep, lows, highs);
      const std::uint64_t above_bits = one.above | std::uint64_t{two.above} << 32;
      std::memcpy(mask + i / 8, &above_bits, sizeof above_bits);
      above += popcount(above_bits);
      hits.add(i, one.inside | std::uint64_t{two.inside} << 32);
    }
    hits.visit([&](std::size_t first, std::uint64_t inside) {
      lists.append(bits + first, inside, static_cast<std::uint32_t>(first));
    });
  }
  for (; i < count; ++i) {
    const Bits key = E::key(bits[i]);
    const bool is_above = key > high;
    if (i % 8 == 0) mask[i / 8] = 0;
    mask[i / 8] = static_cast<std::uint8_t>(mask[i / 8] | unsigned{is_above} << i % 8);
    above += is_above;
    if (key < low || is_above) continue;
    lists.keys[lists.count] = key;
    lists.positions[lists.count] = static_cast<std::uint16_t>(i);
    ++lists.count;
  }
  return {above, lists.count};
}

}  // namespace

const PerDtype<AboveMask> above_mask = PRUNEPACK_PER_ELEMENT(above_mask_of);
const PerDtype<BracketMask> bracket_mask = PRUNEPACK_PER_ELEMENT(bracket_mask_of);

}  // namespace prunepack::avx2
