// n:m masks of groups of any size, AVX-512: by counting.
#pragma once

#include "avx512.h"
#include "mask_writer_avx512.h"

namespace prunepack::avx512 {
namespace {

// Groups of any m: the threshold of each is searched by counting what is above a guess.
template <class E>
class Searched {
 public:
  using Bits = typename E::Bits;
  using Width = LanesOf<Bits>;

  static void mask(const void* weights, std::size_t groups, std::size_t n, std::size_t m,
                   std::uint8_t* mask) noexcept {
    const auto* group = static_cast<const Bits*>(weights);
    MaskWriter out(mask);
    std::uint64_t guess = E::kMaxKey / 2;  // neighbours are alike: begin where the last one ended
    for (std::size_t g = 0; g < groups; ++g, group += m) {
      const Cut cut = search(group, m, m - n, guess);
      guess = cut.key;
      write(group, m, cut, out);
    }
    out.finish();
  }

 private:
  // What is above `key` is kept, and of what is equal to it all but the first `pruned_ties`.
  struct Cut {
    std::uint64_t key;
    std::size_t pruned_ties;
  };

  static std::size_t count_above(const Bits* group, std::size_t m, std::uint64_t key) noexcept {
    const __m512i keys = Width::all(key);
    const auto above = [&](__m512i bits) { return Width::above(key_of<E>(bits), keys); };
    std::size_t count = 0, i = 0;
    for (; i + 64 <= m; i += 64) count += popcount(where(Run64<Bits>::load(group + i), above));
    if (i < m) count += popcount(where(Run64<Bits>::load(group + i, m - i), above));
    return count;
  }

  static Cut search(const Bits* group, std::size_t m, std::size_t kept,
                    std::uint64_t guess) noexcept {
    // At most `kept` keys are above `high`; more than that are above every key below `low`.
    std::uint64_t low = 0, high = E::kMaxKey;
    std::size_t above_low = m, above_high = 0;  // above_low: of low - 1
    std::uint64_t key = guess;
    for (unsigned steps = 0; low < high; ++steps) {
      const std::size_t count = count_above(group, m, key);
      if (count == kept) return {key, m};  // nothing equal to the key is kept
      if (count < kept) {
        high = key;
        above_high = count;
      } else {
        low = key + 1;
        above_low = count;
      }
      key = next_guess(low, high, above_low - kept, above_low - above_high, steps);
    }
    return tied_cut(group, m, kept, low);
  }

  // Interpolates between what is known, but halves the range every other time.
  static std::uint64_t next_guess(std::uint64_t low, std::uint64_t high, std::size_t part,
                                  std::size_t whole, unsigned steps) noexcept {
    const std::uint64_t span = high - low;
    if (steps % 2 == 0 || span < 4) return low + span / 2;
    const double fraction = static_cast<double>(part) / static_cast<double>(whole);
    const auto along = static_cast<std::uint64_t>(fraction * static_cast<double>(span));
    return along < span ? low + along : high - 1;
  }

  static Cut tied_cut(const Bits* group, std::size_t m, std::size_t kept,
                      std::uint64_t key) noexcept {
    const std::size_t at_least = key == 0 ? m : count_above(group, m, key - 1);
    return {key, at_least - kept};
  }

  static void write(const Bits* group, std::size_t m, Cut cut, MaskWriter& out) noexcept {
    const __m512i keys = Width::all(cut.key);
    for (std::size_t i = 0; i < m; i += 64) {
      const std::size_t count = m - i < 64 ? m - i : 64;
      const auto run =
          (count == 64 ? Run64<Bits>::load(group + i) : Run64<Bits>::load(group + i, count))
              .template keys<E>();
      std::uint64_t tied = where(run, [&](__m512i x) { return Width::equal(x, keys); });
      tied &= first_bits(count);
      const std::size_t ties = popcount(tied);
      const std::size_t pruned = ties < cut.pruned_ties ? ties : cut.pruned_ties;
      tied &= ~_pdep_u64(first_bits(pruned), tied);  // the lowest of the bits that are set
      cut.pruned_ties -= pruned;
      const std::uint64_t above = where(run, [&](__m512i x) { return Width::above(x, keys); });
      out.append(above | tied, count);
    }
  }
};

}  // namespace
}  // namespace prunepack::avx512
