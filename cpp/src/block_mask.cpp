// block_mask for whole tensors.
#include <vector>

#include "flat_mask.h"
#include "prunepack/masks.h"
#include "rough_norms.h"
#include "scratch.h"
#include "select.h"
#include "tiling.h"

namespace prunepack {
namespace {

void select_tiles(const Kernels& kernels, const Weights& weights, const Tiling& tiling, Norm norm,
                  std::size_t pruned, std::uint8_t* tile_bits, unsigned threads) {
  const TileNormsOf norms(kernels, weights.data, weights.dtype, tiling, norm);
  if (RoughNormsOf::fits(tiling)) {
    const RoughNormsOf rough(kernels, weights.data, weights.dtype, tiling, norm);
    if (select_roughly(kernels, rough, norms, pruned, tile_bits, threads)) return;
  }
  select(kernels, norms, pruned, tile_bits, threads);
}

}  // namespace

void block_mask(const Kernels& kernels, const Weights& weights, std::span<const std::size_t> shape,
                std::span<const std::size_t> tile, Norm norm, std::size_t pruned,
                std::uint8_t* mask, unsigned threads) {
  if (weights.count() == 0) return;
  const Tiling tiling(tiled_axes(shape, tile));
  Scratch<std::uint8_t> tile_bits(row_bytes(tiling.bands() * tiling.tiles_in_band()));
  select_tiles(kernels, weights, tiling, norm, pruned, tile_bits.get(), threads);

  FlatMask flat(mask, weights.rows, weights.columns);
  tiling.spread(tile_bits.get(), flat.bits(), threads);
  flat.finish();
}

}  // namespace prunepack
