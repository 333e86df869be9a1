// How the rows of a packed matrix are cut into the lists of lists.h.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "prunepack/linear.h"
#include "prunepack/masks.h"

namespace prunepack {

// Rows are cut into stripes of kListColumns columns, each with a list of its own.
inline std::size_t list_stripes(std::size_t columns) {
  return (columns + kListColumns - 1) / kListColumns;
}

// The mask of a row in a stripe.
struct StripeMask {
  StripeMask(const PackedMatrix& matrix, std::size_t row, std::size_t stripe)
      : begin(matrix.mask + row * row_bytes(matrix.columns) + stripe * kListColumns / 8),
        bytes(std::min(kListColumns / 8, row_bytes(matrix.columns) - stripe * kListColumns / 8)) {}

  const std::uint8_t* begin;
  std::size_t bytes;
};

// What may be overwritten behind the last column.
inline constexpr std::size_t kListRoom = kListColumns + kListSlack;

}  // namespace prunepack
