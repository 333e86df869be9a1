// Whole-tensor operations that move weights between the dense and the packed form.
// Masks are as in masks.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "prunepack/masks.h"

namespace prunepack {

// Writes the mask of the elements that are not zero (and, with `given`, that it keeps) and those
// elements, row by row, to `values`. Returns how many they are. `values` has room for as many
// elements as there are weights, and all of it may be overwritten.
std::size_t pack(const Kernels& kernels, const Weights& weights, const std::uint8_t* given,
                 std::uint8_t* mask, void* values, unsigned threads);

// The inverse: `weights` has room for rows * columns elements of `dtype`. The mask has `kept` bits
// set.
void unpack(const Kernels& kernels, const std::uint8_t* mask, const void* values, std::size_t kept,
            Dtype dtype, std::size_t rows, std::size_t columns, void* weights, unsigned threads);

// Copies the weights to `out`, with +0.0 where the mask is 0. `out` may be `weights.data` itself.
void apply_mask(const Kernels& kernels, const Weights& weights, const std::uint8_t* mask, void* out,
                unsigned threads);

// How many bits are set in each row of `row_bytes` bytes.
void count_rows(const Kernels& kernels, const std::uint8_t* mask, std::size_t rows,
                std::size_t row_bytes, std::int64_t* counts);

}  // namespace prunepack
