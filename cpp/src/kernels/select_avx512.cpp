// above_mask and bracket_mask, AVX-512: a word of 64 elements a step.
#include "avx512.h"
#include "hits.h"
#include "tables.h"

namespace prunepack::avx512 {
namespace {

template <class E>
std::size_t above_mask_of(const void* weights, std::size_t count, std::uint64_t key,
                          std::uint8_t* mask) noexcept {
  using Bits = typename E::Bits;
  const auto* in = static_cast<const Bits*>(weights);
  const __m512i keys = LanesOf<Bits>::all(key);
  const auto above = [&](__m512i bits) { return LanesOf<Bits>::above(key_of<E>(bits), keys); };

  std::size_t kept = 0, i = 0;
  for (; i + 64 <= count; i += 64) {
    const std::uint64_t word = where(Run64<Bits>::load(in + i), above);
    store_word(mask + i / 8, word);
    kept += popcount(word);
  }
  if (const std::size_t rest = count - i; rest > 0) {
    const std::uint64_t word = where(Run64<Bits>::load(in + i, rest), above);
    store_word(mask + i / 8, word, rest);  // what was not read is zero, and never above
    kept += popcount(word);
  }
  return kept;
}

// The lists of what is inside a range.
template <class E>
class Lists {
 public:
  using Bits = typename E::Bits;

  Lists(void* keys, std::uint16_t* positions) noexcept
      : keys_(static_cast<Bits*>(keys)), positions_(positions) {
    alignas(64) std::uint16_t iota[64];
    for (unsigned j = 0; j < 64; ++j) iota[j] = static_cast<std::uint16_t>(j);
    first_half_ = _mm512_load_si512(iota);
    second_half_ = _mm512_load_si512(iota + 32);
  }

  // The elements of a run at the bits set in `inside`; the first of them has position `first`.
  void append(const Run64<Bits>& run, std::uint64_t inside, std::size_t first) noexcept {
    constexpr std::size_t lanes = kLanes<Bits>;
    // Each count is of the word's own low bits, so that none waits for the one before it.
    for (std::size_t r = 0; r < Run64<Bits>::kRegisters; ++r) {
      const auto these = static_cast<MaskOf<Bits>>(inside >> (r * lanes));
      const std::size_t before = popcount(inside & first_bits(r * lanes));
      _mm512_storeu_si512(keys_ + count_ + before,
                          LanesOf<Bits>::compress(these, key_of<E>(run.registers[r])));
    }
    const __m512i base = Lanes<2>::all(first);
    const auto low = static_cast<__mmask32>(inside), high = static_cast<__mmask32>(inside >> 32);
    std::uint16_t* const to = positions_ + count_;
    _mm512_storeu_si512(to, Lanes<2>::compress(low, _mm512_add_epi16(base, first_half_)));
    _mm512_storeu_si512(to + popcount(low),
                        Lanes<2>::compress(high, _mm512_add_epi16(base, second_half_)));
    count_ += popcount(inside);
  }

  std::size_t count() const noexcept { return count_; }

 private:
  Bits* keys_;
  std::uint16_t* positions_;
  std::size_t count_ = 0;
  __m512i first_half_, second_half_;  // the positions of a run that begins at 0
};

template <class E>
Above bracket_mask_of(const void* weights, std::size_t count, std::uint64_t low, std::uint64_t high,
                      std::uint8_t* mask, void* keys, std::uint16_t* positions) noexcept {
  using Bits = typename E::Bits;
  using Width = LanesOf<Bits>;
  const auto* in = static_cast<const Bits*>(weights);
  const __m512i lowest = Width::all(low), highest = Width::all(high);
  const __m512i span = Width::all(high - low);
  const auto is_above = [&](__m512i x) { return Width::above(x, highest); };
  // One unsigned comparison: keys below `low` wrap around to large numbers.
  const auto is_inside = [&](__m512i x) { return Width::at_least(span, Width::sub(x, lowest)); };

  Lists<E> lists(keys, positions);
  Hits hits;
  std::size_t above = 0, i = 0;
  while (i + 64 <= count) {
    const std::size_t end = i + 64 * Hits::kWords < count ? i + 64 * Hits::kWords : count / 64 * 64;
    for (; i < end; i += 64) {
      const auto run = Run64<Bits>::load(in + i).template keys<E>();
      const std::uint64_t above_word = where(run, is_above);
      store_word(mask + i / 8, above_word);
      above += popcount(above_word);
      hits.add(i, where(run, is_inside));
    }
    hits.visit([&](std::size_t first, std::uint64_t inside) {
      lists.append(Run64<Bits>::load(in + first), inside, first);
    });
  }
  if (const std::size_t rest = count - i; rest > 0) {
    const auto run = Run64<Bits>::load(in + i, rest).template keys<E>();
    const std::uint64_t above_word = where(run, is_above);
    store_word(mask + i / 8, above_word, rest);
    above += popcount(above_word);
    lists.append(run, where(run, is_inside) & first_bits(rest), i);
  }
  return {above, lists.count()};
}

}  // namespace

const PerDtype<AboveMask> above_mask = PRUNEPACK_PER_ELEMENT(above_mask_of);
const PerDtype<BracketMask> bracket_mask = PRUNEPACK_PER_ELEMENT(bracket_mask_of);

}  // namespace prunepack::avx512
