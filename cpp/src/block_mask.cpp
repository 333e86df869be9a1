// block_mask for whole tensors.
#include <vector>

#include "flat_mask.h"
#include "prunepack/masks.h"
#include "scratch.h"
#include "select.h"
#include "tiling.h"

namespace prunepack {

void block_mask(const Kernels& kernels, const Weights& weights, std::span<const std::size_t> shape,
                std::span<const std::size_t> tile, Norm norm, std::size_t pruned,
                std::uint8_t* mask, unsigned threads) {
  if (weights.count() == 0) return;
  const Tiling tiling(tiled_axes(shape, tile));
  const TileNormsOf norms(kernels, weights.data, weights.dtype, tiling, norm);
  Scratch<std::uint8_t> tile_bits(row_bytes(norms.count()));
  select(kernels, norms, pruned, tile_bits.get(), threads);

  FlatMask flat(mask, weights.rows, weights.columns);
  tiling.spread(tile_bits.get(), flat.bits());
  flat.finish();
}

}  // namespace prunepack
