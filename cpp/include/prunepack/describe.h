// Whole-tensor operations that tell something of a tensor or a mask and change neither. The result
// does not depend on the table or on `threads`.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "prunepack/kernels.h"

namespace prunepack {

// Adds to counts[0] how many of the weights have keys below `low`, to counts[1 + b] how many have
// keys with (key - low) >> shift == b, and to counts[1 + bins] how many have keys beyond.
// 1 <= bins <= kMostBins; `shift` is less than the key has bits.
void key_histogram(const Kernels& kernels, const void* weights, Dtype dtype, std::size_t count,
                   std::uint64_t low, unsigned shift, std::size_t bins, std::int64_t* counts,
                   unsigned threads);

// The sum of the squares in float64: of every 4,096 consecutive weights as the kernel tile_norms
// sums them, and then of these sums in order, each sum rounded on its own.
double sum_of_squares(const Kernels& kernels, const void* weights, Dtype dtype, std::size_t count,
                      unsigned threads);

// What weights are ranked by where those of several tensors are: the bits of the float64 |x| /
// norm, rounded to nearest, or of |x| itself, exact, if `norm` is 1. Zero stays zero even if `norm`
// is. Every NaN has the same importance, above infinity. One for each key, which fits the dtype.
void importances(Dtype dtype, const std::uint64_t* keys, std::size_t count, double norm,
                 std::uint64_t* found);

// What the zeros of a mask look like, in groups and tiles of these sizes.
inline constexpr std::array<std::size_t, 5> kGroupSizes = {2, 4, 8, 16, 32};
inline constexpr std::array<std::size_t, 5> kTileSides = {1, 4, 8, 16, 32};

struct MaskStructure {
  std::size_t kept = 0;
  // The most weights that any group of consecutive ones keeps; a last smaller group counts as well.
  std::array<std::size_t, kGroupSizes.size()> most_kept{};
  // How many weights there are in the tiles that keep any, by height and width of the tile; edge
  // tiles are smaller.
  std::array<std::array<std::size_t, kTileSides.size()>, kTileSides.size()> live{};
  // The same for whole lines.
  std::size_t live_lines = 0;
};

// The mask is of `height` x `depth` lines of `width` bits, each starting on a byte, padding bits 0.
// Groups and the width of tiles run along the lines; the height of tiles across `height`. Sets in
// `columns`, which has the bytes of `depth` lines, the bits that are set in any of the heights.
MaskStructure mask_structure(const Kernels& kernels, const std::uint8_t* mask, std::size_t height,
                             std::size_t depth, std::size_t width, std::uint8_t* columns,
                             unsigned threads);

}  // namespace prunepack
