// n:m masks of groups of any size, AVX-512: by counting.
#pragma once

#include "avx512.h"
#include "mask_writer_avx512.h"
#include "threshold_search.h"

namespace prunepack::avx512 {
namespace {

template <class E>
class Searched {
 public:
  using Bits = typename E::Bits;
  using Width = LanesOf<Bits>;

  // 0 < n < m.
  static void mask(const void* weights, std::size_t groups, std::size_t n, std::size_t m,
                   std::uint8_t* mask) noexcept {
    const auto* group = static_cast<const Bits*>(weights);
    MaskWriter out(mask);
    ThresholdSearch search(E::kMaxKey);
    for (std::size_t g = 0; g < groups; ++g, group += m) {
      const auto count_at = [&](std::uint64_t key) { return counted(group, m, key); };
      write(group, m, search.find(m, m - n, count_at), out);
    }
    out.finish();
  }

 private:
  static Counted counted(const Bits* group, std::size_t m, std::uint64_t key) noexcept {
    const __m512i keys = Width::all(key);
    Counted counted{0, 0};
    const auto count = [&](const Run64<Bits>& bits, std::uint64_t valid) {
      const auto run = bits.template keys<E>();
      counted.above += popcount(where(run, [&](__m512i x) { return Width::above(x, keys); }));
      counted.tied +=
          popcount(where(run, [&](__m512i x) { return Width::equal(x, keys); }) & valid);
    };
    std::size_t i = 0;
    for (; i + 64 <= m; i += 64) count(Run64<Bits>::load(group + i), ~std::uint64_t{0});
    if (i < m) count(Run64<Bits>::load(group + i, m - i), first_bits(m - i));
    return counted;
  }

  static void write(const Bits* group, std::size_t m, Threshold threshold,
                    MaskWriter& out) noexcept {
    const __m512i keys = Width::all(threshold.key);
    for (std::size_t i = 0; i < m; i += 64) {
      const std::size_t count = m - i < 64 ? m - i : 64;
      const auto run =
          (count == 64 ? Run64<Bits>::load(group + i) : Run64<Bits>::load(group + i, count))
              .template keys<E>();
      std::uint64_t tied = where(run, [&](__m512i x) { return Width::equal(x, keys); });
      tied &= first_bits(count);
      const std::size_t ties = popcount(tied);
      const std::size_t pruned = ties < threshold.pruned_ties ? ties : threshold.pruned_ties;
      tied &= ~_pdep_u64(first_bits(pruned), tied);  // the lowest of the bits that are set
      threshold.pruned_ties -= pruned;
      const std::uint64_t above = where(run, [&](__m512i x) { return Width::above(x, keys); });
      out.append(above | tied, count);
    }
  }
};

}  // namespace
}  // namespace prunepack::avx512
