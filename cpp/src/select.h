// Exact selection of the k smallest of a population.
#pragma once

#include <cstddef>
#include <cstdint>

#include "population.h"
#include "prunepack/kernels.h"

namespace prunepack {

// Up to this many bytes, a population is one group for the nm_mask kernel, which looks at it many
// times, in cache. No less than what a sample takes, or its runs would not fit.
inline constexpr std::size_t kSmallBytes = 256 * 1024;

// Writes the mask of all but the `pruned` smallest, and among equals the first, to `bits`.
void select(const Kernels& kernels, const Population& population, std::size_t pruned,
            std::uint8_t* bits, unsigned threads);

}  // namespace prunepack
