// Panels made dense again, for so many rows of activations that the dense kernel gains more than
// this costs.
#pragma once

#include <cstddef>
#include <cstdint>

#include "prunepack/linear.h"

namespace prunepack {

// Whether a product with `batch` rows of activations is likely to be faster so: kernels of bitmask
// and index look for what to multiply anew for every 16 rows.
bool pays_to_expand(const Prepared& matrix, std::size_t batch);

// The bytes of a dense panel of `blocks` blocks.
std::size_t dense_bytes(const Prepared& matrix, std::size_t blocks);

// Writes a panel of `blocks` blocks, bitmask or index, as a dense one.
void expand_panel(const Kernels& kernels, const Prepared& matrix, std::size_t blocks,
                  const std::uint8_t* panel, std::uint8_t* dense);

}  // namespace prunepack
