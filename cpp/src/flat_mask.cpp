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

}  // namespace

FlatMask::FlatMask(std::uint8_t* mask, std::size_t rows, std::size_t columns)
    : mask_(mask), rows_(rows), columns_(columns), copy_(flat_copy(rows, columns)) {}

void FlatMask::finish() {
  if (!copy_) return;
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
