// Lists: rows of a packed matrix as columns and values, and the contract of the kernels that make
// them and multiply with them.
//
// Panels have places for weights that are not there: their lanes are rows of the matrix, which do
// not keep the same columns. Lists have none, and serve where that costs too much. In very sparse
// matrices (the layout csr) the activations of the elements kept are fetched one by one. And with
// many rows of activations the lanes are these rows: one weight kept is one column, whose
// activations lie side by side, and one multiply-add for as many of them as a register has.
// Matrices in panels have such lists made for one product, from the packed matrix itself, whose
// rows are in the right order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "prunepack/dtype.h"

namespace prunepack {

// The elements that some rows keep of some columns. List i are those from begins[i * stride] up to
// begins[i * stride + 1], all counted from begins[0].
struct Lists {
  const std::uint16_t* columns;
  const void* values;
  const std::size_t* begins;
  std::size_t stride;
  std::size_t count;     // of lists
  std::size_t readable;  // columns and values, those of other lists among them
};

// Writes the positions of the bits set in a mask of `bytes` bytes, at most kListColumns / 8;
// returns how many. Up to 64 positions behind the last may be overwritten.
using ListColumns = std::size_t (*)(const std::uint8_t* mask, std::size_t bytes,
                                    std::uint16_t* columns) noexcept;
inline constexpr std::size_t kListColumns = 4096, kListSlack = 64;

// Writes `count` values as float32; int8 as the integers that they are.
using ListValues = void (*)(const void* values, std::size_t count, float* out) noexcept;

// sums[i] += the sum of value * x[column] over list i, int8 being the integers that they are. x has
// every column that is readable.
//
// The order in which a sum is added up depends on the ISA alone.
using ListDots = void (*)(const Lists& lists, const float* x, float* sums) noexcept;

// sums[i * batch + b] += the sum of value * x[column * batch + b] over list i, for each b of
// `batch` rows of activations, one of kListBatches. The values are float32. x begins at a multiple
// of 64 bytes, sums anywhere.
//
// The order in which a sum is added up depends on the ISA and the batch alone.
using ListProduct = void (*)(const Lists& lists, const float* x, std::size_t batch,
                             float* sums) noexcept;
inline constexpr std::size_t kListBatches[] = {2, 4, 8, 16, 32};
inline constexpr std::size_t kMostListBatch = 32;

struct ListKernels {
  ListColumns columns;
  ListProduct product;
  PerDtype<ListValues> values;  // nullptr for what no layer computes with
};

}  // namespace prunepack
