// above_mask, tied_mask and bracket_mask, AVX-512: a word of 64 elements a step.
#include "avx512.h"
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

template <class E>
Above tied_mask_of(const void* weights, std::size_t count, std::uint64_t key, std::uint8_t* above,
                   std::uint8_t* tied) noexcept {
  using Bits = typename E::Bits;
  const auto* in = static_cast<const Bits*>(weights);
  const __m512i keys = LanesOf<Bits>::all(key);
  const auto is_above = [&](__m512i x) { return LanesOf<Bits>::above(x, keys); };
  const auto is_tied = [&](__m512i x) { return LanesOf<Bits>::equal(x, keys); };

  Above found{0, 0};
  std::size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    const auto run = Run64<Bits>::load(in + i).template keys<E>();
    const std::uint64_t above_word = where(run, is_above), tied_word = where(run, is_tied);
    store_word(above + i / 8, above_word);
    store_word(tied + i / 8, tied_word);
    found.above += popcount(above_word);
    found.tied += popcount(tied_word);
  }
  if (const std::size_t rest = count - i; rest > 0) {
    const auto run = Run64<Bits>::load(in + i, rest).template keys<E>();
    const std::uint64_t above_word = where(run, is_above);
    const std::uint64_t tied_word = where(run, is_tied) & first_bits(rest);
    store_word(above + i / 8, above_word, rest);
    store_word(tied + i / 8, tied_word, rest);
    found.above += popcount(above_word);
    found.tied += popcount(tied_word);
  }
  return found;
}

// Appends to the lists of a bracket.
template <class Bits>
struct Lists {
  Bits* keys;
  std::uint16_t* positions;
  __m512i first_half, second_half;  // the positions of the 64 elements of the current run

  void append(const Run64<Bits>& run, std::uint64_t inside) noexcept {
    constexpr std::size_t lanes = kLanes<Bits>;
    // Each count is of the word's own low bits, so that none waits for the one before it.
    for (std::size_t r = 0; r < Run64<Bits>::kRegisters; ++r) {
      const auto these = static_cast<MaskOf<Bits>>(inside >> (r * lanes));
      const std::size_t before = popcount(inside & first_bits(r * lanes));
      _mm512_storeu_si512(keys + before, LanesOf<Bits>::compress(these, run.registers[r]));
    }
    const auto low = static_cast<__mmask32>(inside), high = static_cast<__mmask32>(inside >> 32);
    _mm512_storeu_si512(positions, Lanes<2>::compress(low, first_half));
    _mm512_storeu_si512(positions + popcount(low), Lanes<2>::compress(high, second_half));
    keys += popcount(inside);
    positions += popcount(inside);
  }
  void next_run() noexcept {
    first_half = _mm512_add_epi16(first_half, _mm512_set1_epi16(64));
    second_half = _mm512_add_epi16(second_half, _mm512_set1_epi16(64));
  }
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

  alignas(64) std::uint16_t iota[64];
  for (unsigned j = 0; j < 64; ++j) iota[j] = static_cast<std::uint16_t>(j);
  Lists<Bits> lists{static_cast<Bits*>(keys), positions, _mm512_load_si512(iota),
                    _mm512_load_si512(iota + 32)};
  std::size_t above = 0, i = 0;
  for (; i + 64 <= count; i += 64) {
    const auto run = Run64<Bits>::load(in + i).template keys<E>();
    const std::uint64_t above_word = where(run, is_above);
    store_word(mask + i / 8, above_word);
    above += popcount(above_word);
    lists.append(run, where(run, is_inside));
    lists.next_run();
  }
  if (const std::size_t rest = count - i; rest > 0) {
    const auto run = Run64<Bits>::load(in + i, rest).template keys<E>();
    const std::uint64_t above_word = where(run, is_above);
    store_word(mask + i / 8, above_word, rest);
    above += popcount(above_word);
    lists.append(run, where(run, is_inside) & first_bits(rest));
  }
  return {above, static_cast<std::size_t>(lists.positions - positions)};
}

}  // namespace

const PerDtype<AboveMask> above_mask = PRUNEPACK_PER_ELEMENT(above_mask_of);
const PerDtype<TiedMask> tied_mask = PRUNEPACK_PER_ELEMENT(tied_mask_of);
const PerDtype<BracketMask> bracket_mask = PRUNEPACK_PER_ELEMENT(bracket_mask_of);

}  // namespace prunepack::avx512
