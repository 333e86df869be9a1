// The dense and the bitmask layout, AVX-512, with float32 activations.
#include "panel_registers_avx512.h"
#include "tables.h"

namespace prunepack::avx512 {
namespace {

// Adds the parts from p on of register s of a block, times their columns of the activations.
template <class Weights, std::size_t p, std::size_t batch>
PRUNEPACK_INLINE void add_parts(typename Weights::Cells cells, std::size_t s, const float* x,
                                Sums<batch>& sums) noexcept {
  if constexpr (p < Weights::kParts) {
    const __m512 weights = Weights::template part<p>(cells);
    const std::size_t column = s * Weights::kParts + p;
#pragma GCC unroll 16
    for (std::size_t b = 0; b < batch; ++b) {
      __m512& sum = sums.of[column % Sums<batch>::kChains][b];
      sum = _mm512_fmadd_ps(weights, _mm512_set1_ps(x[b * kBlockColumns + column]), sum);
    }
    add_parts<Weights, p + 1>(cells, s, x, sums);
  }
}

template <class Weights, class Registers>
void product_of(const PanelShape& shape, const std::uint8_t* panel, const void* activations,
                void* out) noexcept {
  as_constant(shape.batch, [&](auto rows) noexcept {
    constexpr std::size_t batch = decltype(rows)::value;
    const auto* x = static_cast<const float*>(activations);
    Registers registers(shape, panel);
    Sums<batch> sums;
    sums.clear();
    for (std::size_t block = 0; block < shape.blocks; ++block) {
      registers.begin_block();
#pragma GCC unroll 16
      for (std::size_t s = 0; s < kBlockColumns / Weights::kParts; ++s) {
        add_parts<Weights, 0>(registers.next(s), s, x, sums);
      }
      x += batch * kBlockColumns;
    }
    sums.store(out, Weights::kScale);
  });
}

template <class Weights>
void dense_of(const PanelShape& shape, const std::uint8_t* panel, const void* x,
              void* sums) noexcept {
  product_of<Weights, DenseRegisters<Weights>>(shape, panel, x, sums);
}

template <class Weights>
void bitmask_of(const PanelShape& shape, const std::uint8_t* panel, const void* x,
                void* sums) noexcept {
  product_of<Weights, BitmaskRegisters<Weights>>(shape, panel, x, sums);
}

}  // namespace

const PanelProducts panel_dense = PRUNEPACK_FLOAT_PRODUCTS(dense_of);
const PanelProducts panel_bitmask = PRUNEPACK_FLOAT_PRODUCTS(bitmask_of);

}  // namespace prunepack::avx512
