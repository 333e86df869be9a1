// Selection of tiles by norms in float32 where they are certain, and in float64 near the cut.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "population.h"
#include "prunepack/kernels.h"
#include "sample.h"
#include "tiling.h"

namespace prunepack {

// Norms of tiles that are columns, in float32.
//
// How near they are to the norms in float64, for tiles of `size` elements and u = 2^-24: rounding
// an element to float32 changes it by a part u at most, squaring doubles that and rounding the
// square adds u, and each of the size - 1 sums adds u. All terms are positive, so the sum is off by
// no more than a part (1 + u)^(size + 2) - 1, which is less than (size + 3) u for sizes up to
// kLargest; what float64 rounds, and what underflow loses of a norm that is at least 2^-101 (size
// times 2^-149, at most), is less than u each. So a part of (size + 5) u bounds the error, unless
// numbers are too large or small for float32: then the rough norm is above 2^126 where the norm
// is, or below 2^-100 where the norm is, and NaN where the norm is NaN.
class RoughNormsOf final : public Population {
 public:
  RoughNormsOf(const Kernels& kernels, const void* data, Dtype dtype, const Tiling& tiling,
               Norm norm);

  static constexpr std::size_t kLargest = 4096;
  static bool fits(const Tiling& tiling);

  // Whether they rank as the norms do, ties and NaN and all.
  bool is_exact() const { return part_ == 0; }

  // If the cut among the rough norms is at `key`: the keys of those that may be on the wrong side
  // of it. Nothing if that cannot be told.
  std::optional<KeyRange> unsure(std::uint64_t key) const;

  bool is_stored() const override { return false; }
  const void* read(std::size_t first, std::size_t count, void* scratch) const override;
  const void* read_in_order(std::size_t first, std::size_t count, void* scratch) const override;

 private:
  // Fetches what is `ahead` bytes further on, if that is not 0.
  void compute(std::size_t first, std::size_t count, std::size_t ahead, float* norms) const;

  const std::uint8_t* data_;
  std::size_t bytes_;
  RoughNorms rough_norms_;
  const Tiling& tiling_;
  Norm norm_;
  double part_;  // by which one differs from the norm, at most
};

// Does what select does for `norms`, and returns true; or false, if that needs all of them.
bool select_roughly(const Kernels& kernels, const RoughNormsOf& rough, const Population& norms,
                    std::size_t pruned, std::uint8_t* bits, unsigned threads);

}  // namespace prunepack
