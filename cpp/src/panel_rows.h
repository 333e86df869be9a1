// Sixteen rows of a packed matrix, unpacked: what a panel is made of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "prunepack/linear.h"
#include "prunepack/masks.h"

namespace prunepack {

// Where the values of each row begin, and the end.
std::vector<std::size_t> row_offsets(const Kernels& kernels, const PackedMatrix& matrix);

// The masks of 16 rows in words, zero beyond the last row and column.
class PanelMask {
 public:
  PanelMask(const PackedMatrix& matrix, std::size_t blocks)
      : matrix_(matrix), words_(blocks / kChunkBlocks), bits_(kPanelRows * words_) {}

  void read(std::size_t panel);

  std::uint64_t word(std::size_t lane, std::size_t i) const { return bits_[lane * words_ + i]; }

 private:
  const PackedMatrix& matrix_;
  std::size_t words_;  // of 64 columns
  std::vector<std::uint64_t> bits_;
};

// The elements of 16 rows, zero where nothing is kept.
template <class Bits>
class PanelElements {
 public:
  PanelElements(const Kernels& kernels, const PackedMatrix& matrix, std::size_t blocks)
      : kernels_(kernels),
        matrix_(matrix),
        columns_(blocks * kBlockColumns),
        elements_(kPanelRows * columns_) {}

  void read(std::size_t panel, const std::vector<std::size_t>& offsets) {
    const std::size_t mask_bytes = row_bytes(matrix_.columns);
    if (mask_bytes == 0) return;
    for (std::size_t lane = 0; lane < kPanelRows; ++lane) {
      const std::size_t row = panel * kPanelRows + lane;
      Bits* const out = elements_.data() + lane * columns_;
      if (row >= matrix_.rows) {
        std::memset(out, 0, columns_ * sizeof(Bits));
        continue;
      }
      (*kernels_.expand)[matrix_.dtype](matrix_.mask + row * mask_bytes,
                                        static_cast<const Bits*>(matrix_.values) + offsets[row],
                                        offsets[row + 1] - offsets[row], matrix_.columns, out);
    }
  }

  Bits at(std::size_t lane, std::size_t column) const {
    return elements_[lane * columns_ + column];
  }

 private:
  const Kernels& kernels_;
  const PackedMatrix& matrix_;
  std::size_t columns_;
  std::vector<Bits> elements_;
};

}  // namespace prunepack
