// Whole-tensor operations that decide which weights stay.
//
// Weights are a C-contiguous tensor; its rows are the slices of its last axis. A mask has one bit
// an element, 1 = kept, lowest bit first, each row starting on a byte: rows * row_bytes(columns)
// bytes, with the padding bits 0. The result does not depend on the table or on `threads`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "prunepack/kernels.h"

namespace prunepack {

struct Weights {
  const void* data;
  Dtype dtype;
  std::size_t rows;
  std::size_t columns;

  std::size_t count() const { return rows * columns; }
};

constexpr std::size_t row_bytes(std::size_t columns) { return (columns + 7) / 8; }

// The tensor seen as (outer, length, inner): groups of consecutive weights run along `length`.
struct Lines {
  std::size_t outer;
  std::size_t length;
  std::size_t inner;
};

// Prunes the n smallest of every m consecutive weights of each line. A last group of r < m weights
// loses max(0, n - (m - r)). 0 <= n <= m, m >= 1.
void nm_mask(const Kernels& kernels, const Weights& weights, const Lines& lines, std::size_t n,
             std::size_t m, std::uint8_t* mask, unsigned threads);

// Splits the weights into `populations` equal consecutive parts (at least one, and a divisor of the
// count) and prunes the `pruned` smallest of each.
void smallest_mask(const Kernels& kernels, const Weights& weights, std::size_t populations,
                   std::size_t pruned, std::uint8_t* mask, unsigned threads);

// Prunes the weights whose key is not above `key`, and returns how many are kept.
std::size_t above_mask(const Kernels& kernels, const Weights& weights, std::uint64_t key,
                       std::uint8_t* mask, unsigned threads);

// Cuts the tensor of the given shape into tiles (the last along each axis may be smaller) and
// prunes the `pruned` tiles with the smallest norms. `shape` and `tile` have the same length, no
// tile extent is 0, and the last axis of `shape` is `weights.columns`.
void block_mask(const Kernels& kernels, const Weights& weights, std::span<const std::size_t> shape,
                std::span<const std::size_t> tile, Norm norm, std::size_t pruned,
                std::uint8_t* mask, unsigned threads);

}  // namespace prunepack
