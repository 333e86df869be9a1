// key_histogram, for every ISA: the compiler turns the first loop into its instructions.
//
// Counting itself is one load, add and store a weight on any of them. In an unnamed namespace;
// key.h says why.
#pragma once

#include "key.h"
#include "prunepack/kernels.h"

namespace prunepack {
namespace {

template <class E>
void key_histogram_of(const void* weights, std::size_t count, std::uint64_t low, unsigned shift,
                      std::size_t bins, std::uint32_t* counts) noexcept {
  using Bits = typename E::Bits;
  constexpr std::size_t step = 512;
  const auto* in = static_cast<const Bits*>(weights);
  const auto lowest = static_cast<Bits>(low);
  const auto last = static_cast<std::uint32_t>(bins);
  const std::size_t table = bins + 2;
  std::uint32_t places[step];
  for (std::size_t first = 0; first < count; first += step) {
    const std::size_t here = count - first < step ? count - first : step;
    for (std::size_t i = 0; i < here; ++i) {
      const Bits key = E::key(in[first + i]);
      const auto distance = static_cast<Bits>(static_cast<Bits>(key - lowest) >> shift);
      const std::uint32_t bin = distance < last ? static_cast<std::uint32_t>(distance) : last;
      places[i] = key < lowest ? 0 : bin + 1;
    }
    for (std::size_t i = 0; i + 4 <= here; i += 4) {
      for (std::size_t t = 0; t < 4; ++t) ++counts[t * table + places[i + t]];
    }
    for (std::size_t i = here / 4 * 4; i < here; ++i) ++counts[i % 4 * table + places[i]];
  }
}

static_assert(kHistogramTables == 4);

}  // namespace
}  // namespace prunepack
