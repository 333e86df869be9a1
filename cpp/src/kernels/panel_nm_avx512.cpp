// The n:m layouts, AVX-512, with float32 activations: the positions of a register pick its
// activations, by a permutation that ignores the bits above a position.
#include "panel_positions_avx512.h"
#include "tables.h"

namespace prunepack::avx512 {
namespace {

// Picks the activations at `positions` in the group of columns that begins at `column` of its
// block: from all of the block, since that needs no instruction to broadcast a group of four.
template <std::size_t group>
class Pick {
 public:
  Pick(__m512i positions, std::size_t column) noexcept
      : in_block_(group == kBlockColumns ? positions
                                         : _mm512_ternarylogic_epi32(  // (a & b) | c
                                               positions, _mm512_set1_epi32(group - 1),
                                               _mm512_set1_epi32(static_cast<int>(column)), 0xea)) {
  }
  __m512 from(const float* block) const noexcept {
    return _mm512_permutexvar_ps(in_block_, _mm512_loadu_ps(block));
  }

 private:
  __m512i in_block_;
};

// Adds the parts from p on of a register that belongs to the `parts` groups from `first`, counted
// from x, where a block begins. Groups take the chains in turn.
template <class Weights, std::size_t group, std::size_t p, std::size_t batch>
PRUNEPACK_INLINE void add_parts(typename Weights::Cells cells, __m512i positions, std::size_t first,
                                const float* x, Sums<batch>& sums) noexcept {
  if constexpr (p < Weights::kParts) {
    const __m512 weights = Weights::template part<p>(cells);
    const __m512i of_part =
        p == 0 ? positions : _mm512_srli_epi32(positions, 32 / Weights::kParts * p);
    const std::size_t column = (first + p) * group;
    const Pick<group> pick(of_part, column % kBlockColumns);
    const float* const block = x + column / kBlockColumns * batch * kBlockColumns;
#pragma GCC unroll 16
    for (std::size_t b = 0; b < batch; ++b) {
      __m512& sum = sums.of[(first + p) % Sums<batch>::kChains][b];
      sum = _mm512_fmadd_ps(weights, pick.from(block + b * kBlockColumns), sum);
    }
    add_parts<Weights, group, p + 1>(cells, positions, first, x, sums);
  }
}

// `fixed` is the number of elements kept of a group, or 0 where only the panel knows it.
template <class Weights, std::size_t group, std::size_t fixed, std::size_t batch>
PRUNEPACK_INLINE void product(const PanelShape& shape, const std::uint8_t* panel, const float* x,
                              Sums<batch>& sums) noexcept {
  constexpr std::size_t parts = Weights::kParts, bits = group == 4 ? 2 : 4;
  constexpr std::size_t groups = 4, columns = groups * group;  // of a turn of the loop
  const std::size_t kept = fixed != 0 ? fixed : shape.kept;
  for (std::size_t chunk = 0; chunk < shape.blocks / kChunkBlocks; ++chunk) {
    const std::uint8_t* positions = panel;
    panel += chunk_position_bytes(group, kept);
    for (std::size_t column = 0; column < kChunkBlocks * kBlockColumns; column += columns) {
#pragma GCC unroll 4
      for (std::size_t first = 0; first < groups; first += parts) {
        for (std::size_t j = 0; j < kept; ++j) {
          add_parts<Weights, group, 0>(Weights::load(panel), positions_at<parts, bits>(positions),
                                       first, x, sums);
          positions += position_bytes(parts, bits);
          panel += kRegisterBytes;
        }
      }
      x += columns * batch;
    }
  }
}

template <class Weights, std::size_t group>
void product_of(const PanelShape& shape, const std::uint8_t* panel, const void* x,
                void* out) noexcept {
  as_constant(shape.batch, [&](auto rows) noexcept {
    constexpr std::size_t batch = decltype(rows)::value;
    const auto* activations = static_cast<const float*>(x);
    Sums<batch> sums;
    sums.clear();
    switch (shape.kept) {
      case 1:
        product<Weights, group, 1>(shape, panel, activations, sums);
        break;
      case 2:
        product<Weights, group, 2>(shape, panel, activations, sums);
        break;
      default:
        product<Weights, group, 0>(shape, panel, activations, sums);
    }
    sums.store(out, Weights::kScale);
  });
}

template <class Weights>
void nm4_of(const PanelShape& shape, const std::uint8_t* panel, const void* x,
            void* sums) noexcept {
  product_of<Weights, 4>(shape, panel, x, sums);
}

template <class Weights>
void nm16_of(const PanelShape& shape, const std::uint8_t* panel, const void* x,
             void* sums) noexcept {
  product_of<Weights, 16>(shape, panel, x, sums);
}

}  // namespace

const PanelProducts panel_nm4 = PRUNEPACK_FLOAT_PRODUCTS(nm4_of);
const PanelProducts panel_nm16 = PRUNEPACK_FLOAT_PRODUCTS(nm16_of);

}  // namespace prunepack::avx512
