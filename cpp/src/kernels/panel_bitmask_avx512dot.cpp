// The dense and the bitmask layout, AVX-512, with dot products of whole cells.
#include "panel_dots_avx512dot.h"
#include "panel_registers_avx512.h"
#include "tables.h"

namespace prunepack::avx512dot {
namespace {

using namespace avx512;

// A cell of activations for all lanes.
inline __m512i repeated(const void* x) noexcept {
  std::int32_t cell;
  std::memcpy(&cell, x, sizeof cell);
  return _mm512_set1_epi32(cell);
}

template <class Dots, class Registers>
void product_of(const PanelShape& shape, const std::uint8_t* panel, const void* activations,
                void* out) noexcept {
  as_constant(shape.batch, [&](auto rows) noexcept {
    constexpr std::size_t batch = decltype(rows)::value;
    const auto* x = static_cast<const typename Dots::Activation*>(activations);
    Registers registers(shape, panel);
    DotSums<Dots, batch> sums;
    sums.clear();
    for (std::size_t block = 0; block < shape.blocks; ++block) {
      registers.begin_block();
#pragma GCC unroll 8
      for (std::size_t s = 0; s < kBlockColumns / Dots::kParts; ++s) {
        const __m512i cells = registers.next(s);
#pragma GCC unroll 16
        for (std::size_t b = 0; b < batch; ++b) {
          auto& sum = sums.of[s % sums.kChains][b];
          sum = Dots::add(sum, cells, repeated(x + b * kBlockColumns + s * Dots::kParts));
        }
      }
      x += batch * kBlockColumns;
    }
    sums.store(out);
  });
}

template <class Dots>
void dense_of(const PanelShape& shape, const std::uint8_t* panel, const void* x,
              void* sums) noexcept {
  product_of<Dots, DenseRegisters<Dots>>(shape, panel, x, sums);
}

template <class Dots>
void bitmask_of(const PanelShape& shape, const std::uint8_t* panel, const void* x,
                void* sums) noexcept {
  product_of<Dots, BitmaskRegisters<Dots>>(shape, panel, x, sums);
}

}  // namespace

const PanelProducts panel_dense = PRUNEPACK_DOT_PRODUCTS(dense_of);
const PanelProducts panel_bitmask = PRUNEPACK_DOT_PRODUCTS(bitmask_of);

}  // namespace prunepack::avx512dot
