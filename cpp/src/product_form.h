// What a product is computed from: the panels or lists as they are, or something made of the panels
// or of the packed matrix for this one product, because it pays for many rows of activations.
#pragma once

#include <cstddef>
#include <cstdint>

#include "prunepack/linear.h"

namespace prunepack {

enum class ProductForm : std::uint8_t {
  panels,
  dense,  // panels made dense
  lists   // lists.h
};

// The one that is likely to be the fastest.
ProductForm form_of_product(const Kernels& kernels, const Prepared& matrix, std::size_t batch,
                            Activations activations);

}  // namespace prunepack
