// above_mask for whole tensors.
#include <atomic>

#include "chunks.h"
#include "flat_mask.h"
#include "prunepack/masks.h"

namespace prunepack {

std::size_t above_mask(const Kernels& kernels, const Weights& weights, std::uint64_t key,
                       std::uint8_t* mask, unsigned threads) {
  const auto* data = static_cast<const std::uint8_t*>(weights.data);
  const std::size_t bytes = width(weights.dtype);
  FlatMask flat(mask, weights.rows, weights.columns);
  std::uint8_t* bits = flat.bits();
  std::atomic<std::size_t> kept = 0;
  for_chunks(weights.count(), bytes, 64, threads, [&](std::size_t first, std::size_t count) {
    kept +=
        (*kernels.above_mask)[weights.dtype](data + first * bytes, count, key, bits + first / 8);
  });
  flat.finish();
  return kept;
}

}  // namespace prunepack
