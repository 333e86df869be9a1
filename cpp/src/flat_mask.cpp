#include "flat_mask.h"

#include "bits.h"
#include "prunepack/masks.h"

namespace prunepack {
namespace {

bool is_flat(std::size_t rows, std::size_t columns) { return columns % 8 == 0 || rows <= 1; }

std::unique_ptr<std::uint8_t[]> flat_copy(std::size_t rows, std::size_t columns) {
  if (is_flat(rows, columns)) return nullptr;
  return std::make_unique_for_overwrite<std::uint8_t[]>(row_bytes(rows * columns));
}

// Rows of fewer than 8 bits, such as those of small convolutions, to a byte each.
void put_short_rows(const std::uint8_t* bits, std::size_t rows, std::size_t columns,
                    std::uint8_t* mask) {
  const std::uint64_t row_bits = low_bits(columns);
  for (; rows >= 8; rows -= 8, bits += columns, mask += 8) {  // as many bytes as a row has bits
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < columns; ++i) word |= std::uint64_t{bits[i]} << 8 * i;
    for (std::size_t row = 0; row < 8; ++row, word >>= columns) {
      mask[row] = static_cast<std::uint8_t>(word & row_bits);
    }
  }
  for (std::size_t row = 0; row < rows; ++row) {
    mask[row] = static_cast<std::uint8_t>(read_bits(bits, row * columns, columns));
  }
}

}  // namespace

FlatMask::FlatMask(std::uint8_t* mask, std::size_t rows, std::size_t columns)
    : mask_(mask), rows_(rows), columns_(columns), copy_(flat_copy(rows, columns)) {}

void FlatMask::finish() {
  if (!copy_) return;
  if (columns_ < 8) return put_short_rows(copy_.get(), rows_, columns_, mask_);
  for (std::size_t row = 0; row < rows_; ++row) {
    BitWriter(mask_ + row * row_bytes(columns_), 0).append(copy_.get(), row * columns_, columns_);
  }
}

FlatView::FlatView(const std::uint8_t* mask, std::size_t rows, std::size_t columns)
    : mask_(mask), copy_(flat_copy(rows, columns)) {
  if (!copy_) return;
  BitWriter flat(copy_.get(), 0);
  for (std::size_t row = 0; row < rows; ++row) {
    flat.append(mask + row * row_bytes(columns), 0, columns);
  }
}

}  // namespace prunepack
