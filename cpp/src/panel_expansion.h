// Panels made dense again, for so many rows of activations that the dense kernel gains more than
// this costs.
#pragma once

#include <cstddef>
#include <cstdint>

#include "prunepack/linear.h"

namespace prunepack {

// The bytes of a dense panel of `blocks` blocks.
std::size_t dense_bytes(const Prepared& matrix, std::size_t blocks);

// Writes a panel of `blocks` blocks, bitmask or index, as a dense one.
void expand_panel(const Kernels& kernels, const Prepared& matrix, std::size_t blocks,
                  const std::uint8_t* panel, std::uint8_t* dense);

}  // namespace prunepack
