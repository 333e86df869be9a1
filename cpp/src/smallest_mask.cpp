// smallest_mask for whole tensors.
#include <vector>

#include "bits.h"
#include "flat_mask.h"
#include "prunepack/masks.h"
#include "select.h"

namespace prunepack {

void smallest_mask(const Kernels& kernels, const Weights& weights, std::size_t populations,
                   std::size_t pruned, std::uint8_t* mask, unsigned threads) {
  if (weights.count() == 0) return;
  const std::size_t size = weights.count() / populations, bytes = width(weights.dtype);
  if (size * bytes <= kSmallBytes) {
    return nm_mask(kernels, weights, {populations, size, 1}, pruned, size, mask, threads);
  }
  const auto* data = static_cast<const std::uint8_t*>(weights.data);
  FlatMask flat(mask, weights.rows, weights.columns);
  // For those that begin inside a byte.
  std::vector<std::uint8_t> own(populations > 1 && size % 8 != 0 ? row_bytes(size) : 0);
  for (std::size_t first = 0; first < weights.count(); first += size) {
    const StoredWeights population(data + first * bytes, weights.dtype, size);
    const bool on_byte = first % 8 == 0;
    select(kernels, population, pruned, on_byte ? flat.bits() + first / 8 : own.data(), threads);
    if (!on_byte) BitWriter(flat.bits(), first).append(own.data(), 0, size);
  }
  flat.finish();
}

}  // namespace prunepack
