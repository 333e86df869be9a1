// Lists: rows of a packed matrix as columns and numbers, and the contract of the kernels that make
// them and multiply with them.
//
// With many rows of activations, panels lose: their lanes are rows of the matrix, so each weight
// has its own activations to look up, for every row of those anew. Here the lanes are rows of the
// activations. One weight kept is one column, whose activations lie side by side, and one
// multiply-add for as many of them as a register has. Lists are short-lived and made from the
// packed matrix itself, whose rows are in the right order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "prunepack/dtype.h"

namespace prunepack {

// The elements that a row keeps of some columns, in order.
struct List {
  const std::uint16_t* columns;
  const float* values;
  std::size_t count;
};

// Writes the positions of the bits set in a mask of `bytes` bytes, at most kListColumns / 8;
// returns how many. Up to 64 positions behind the last may be overwritten.
using ListColumns = std::size_t (*)(const std::uint8_t* mask, std::size_t bytes,
                                    std::uint16_t* columns) noexcept;
inline constexpr std::size_t kListColumns = 4096, kListSlack = 64;

// Writes `count` values as float32; int8 as the integers that they are.
using ListValues = void (*)(const void* values, std::size_t count, float* out) noexcept;

// sums[b] += the sum of values[i] * x[columns[i] * batch + b], for each b of `batch` rows of
// activations, one of kListBatches. x begins at a multiple of 64 bytes, sums anywhere.
//
// The order in which a sum is added up depends on the ISA and the batch alone.
using ListProduct = void (*)(const List& list, const float* x, std::size_t batch,
                             float* sums) noexcept;
inline constexpr std::size_t kListBatches[] = {8, 16, 32};
inline constexpr std::size_t kMostListBatch = 32;

struct ListKernels {
  ListColumns columns;
  ListProduct product;
  PerDtype<ListValues> values;  // nullptr for what no layer computes with
};

}  // namespace prunepack
