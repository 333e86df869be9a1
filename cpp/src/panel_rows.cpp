#include "panel_rows.h"

namespace prunepack {

std::vector<std::size_t> row_offsets(const Kernels& kernels, const PackedMatrix& matrix) {
  const std::size_t mask_bytes = row_bytes(matrix.columns);
  std::vector<std::size_t> offsets(matrix.rows + 1);
  for (std::size_t row = 0; row < matrix.rows; ++row) {
    offsets[row + 1] =
        offsets[row] + kernels.count_bits(matrix.mask + row * mask_bytes, mask_bytes);
  }
  return offsets;
}

void PanelMask::read(std::size_t panel) {
  const std::size_t mask_bytes = row_bytes(matrix_.columns);
  if (mask_bytes == 0) return;  // and no memory, which memset and memcpy must have
  std::memset(bits_.data(), 0, bits_.size() * sizeof bits_[0]);
  for (std::size_t lane = 0; lane < kPanelRows; ++lane) {
    const std::size_t row = panel * kPanelRows + lane;
    if (row >= matrix_.rows) return;
    std::memcpy(bits_.data() + lane * words_, matrix_.mask + row * mask_bytes, mask_bytes);
  }
}

}  // namespace prunepack
