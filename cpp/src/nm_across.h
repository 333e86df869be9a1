// n:m masks whose groups run along any axis but the last.
#pragma once

#include <cstdint>

#include "nm_groups.h"
#include "prunepack/masks.h"

namespace prunepack {

// nm_mask for lines.inner > 1 and pattern.m <= lines.length, into a mask of padded rows.
void nm_mask_across(const Kernels& kernels, const Weights& weights, const Lines& lines,
                    NmPattern pattern, std::uint8_t* mask, unsigned threads);

}  // namespace prunepack
