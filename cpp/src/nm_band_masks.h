// The n:m masks of bands that follow each other, as one run of bits: a band is as many rows as a
// group has elements, and the groups stand side by side in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "bits.h"
#include "prunepack/kernels.h"

namespace prunepack {

// May keep memory for the next call, so each thread has its own.
class BandMasks {
 public:
  virtual ~BandMasks() = default;

  // Appends the mask of `bands` bands of `rows` rows, of each of whose groups `pruned` are pruned.
  virtual void append(const std::uint8_t* weights, std::size_t bands, std::size_t rows,
                      std::size_t pruned, BitWriter& out) = 0;
};

// For bands of up to `most_rows` rows of `inner` weights.
std::unique_ptr<BandMasks> band_masks(const Kernels& kernels, Dtype dtype, std::size_t inner,
                                      std::size_t most_rows);

}  // namespace prunepack
