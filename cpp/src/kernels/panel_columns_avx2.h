// Products of layouts that hold every column of a panel, dense and bitmask: Registers<Weights>
// gives the registers of a panel one after the other, each with its place in its block. In an
// unnamed namespace; key.h says why.
#pragma once

#include "panels_avx2.h"

namespace prunepack::avx2 {
namespace {

// Broadcasts the activations of a column to all lanes.
template <template <class> class Registers>
struct Columns {
  template <class Weights, std::size_t rows>
  static void run(const PanelShape& shape, const std::uint8_t* panel, const float* x,
                  float* out) noexcept {
    Registers<Weights> registers(shape, panel);
    Sums<rows> sums;
    for (std::size_t block = 0; block < shape.blocks; ++block, x += shape.batch * kBlockColumns) {
      repeat<kBlockColumns / Weights::kParts>([&]<std::size_t s>() __attribute__((always_inline)) {
        const typename Weights::Cells cells = registers.next(s);
        repeat<Weights::kParts>([&]<std::size_t p>() __attribute__((always_inline)) {
          constexpr std::size_t column = s * Weights::kParts + p;
          const __m256 low = Weights::template part<p, 0>(cells);
          const __m256 high = Weights::template part<p, 1>(cells);
          repeat<rows>([&]<std::size_t b>() __attribute__((always_inline)) {
            const __m256 factor = _mm256_broadcast_ss(x + b * kBlockColumns + column);
            sums.template add<0>(column, b, low, factor);
            sums.template add<1>(column, b, high, factor);
          });
        });
      });
    }
    sums.store(out, Weights::kScale);
  }
};

}  // namespace
}  // namespace prunepack::avx2
