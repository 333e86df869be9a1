#include "flat_mask.h"

#include <algorithm>
#include <cstring>

#include "bits.h"
#include "prunepack/masks.h"

namespace prunepack {
namespace {

bool is_flat(std::size_t rows, std::size_t columns) { return columns % 8 == 0 || rows <= 1; }

std::unique_ptr<std::uint8_t[]> flat_copy(std::size_t rows, std::size_t columns) {
  if (is_flat(rows, columns)) return nullptr;
  return std::make_unique_for_overwrite<std::uint8_t[]>(row_bytes(rows * columns));
}

// Spreads eight rows of `columns` < 8 bits to a byte each, or gathers them again: halves apart,
// quarters, then single rows.
class EightRows {
 public:
  explicit EightRows(std::size_t columns) {
    std::uint64_t every = 1;  // where a part begins, of 1, 2, 4 parts
    for (std::size_t step = 0; step < kSteps; ++step) {
      const std::size_t rows = 4 >> step;  // of half a part
      low_[step] = every * low_bits(rows * columns);
      high_[step] = low_[step] << rows * columns;
      shift_[step] = rows * (8 - columns);
      every |= every << 8 * rows;
    }
  }

  std::uint64_t spread(std::uint64_t rows) const {
    for (std::size_t step = 0; step < kSteps; ++step) {
      rows = (rows & low_[step]) | (rows & high_[step]) << shift_[step];
    }
    return rows;
  }

  std::uint64_t gathered(std::uint64_t bytes) const {
    for (std::size_t step = kSteps; step-- > 0;) {
      bytes = (bytes & low_[step]) | (bytes >> shift_[step] & high_[step]);
    }
    return bytes;
  }

 private:
  static constexpr std::size_t kSteps = 3;
  std::uint64_t low_[kSteps], high_[kSteps];
  std::size_t shift_[kSteps];
};

// As many bytes as a row has columns, and the zeros that make them a word.
std::uint64_t read_word(const std::uint8_t* from, std::size_t bytes) {
  std::uint64_t word = 0;
  std::memcpy(&word, from, bytes);
  return word;
}

// Rows of fewer than 8 bits, such as those of small convolutions, to a byte each.
void put_short_rows(const std::uint8_t* bits, std::size_t rows, std::size_t columns,
                    std::uint8_t* mask) {
  const EightRows eight(columns);
  std::size_t row = 0;
  // Eight rows are `columns` bytes. A whole word is read while the rows after them hold its rest.
  for (; row + 64 <= rows; row += 8, bits += columns) {
    const std::uint64_t bytes = eight.spread(read_word(bits, sizeof(std::uint64_t)));
    std::memcpy(mask + row, &bytes, sizeof bytes);
  }
  for (; row < rows; row += 8, bits += columns) {
    const std::size_t some = std::min<std::size_t>(rows - row, 8);
    const std::uint64_t bytes = eight.spread(read_word(bits, row_bytes(some * columns)));
    std::memcpy(mask + row, &bytes, some);
  }
}

void take_short_rows(const std::uint8_t* mask, std::size_t rows, std::size_t columns,
                     std::uint8_t* bits) {
  const EightRows eight(columns);
  std::size_t row = 0;
  for (; row + 64 <= rows; row += 8, bits += columns) {  // as above; the rest is written again
    const std::uint64_t word = eight.gathered(read_word(mask + row, sizeof(std::uint64_t)));
    std::memcpy(bits, &word, sizeof word);
  }
  for (; row < rows; row += 8, bits += columns) {
    const std::size_t some = std::min<std::size_t>(rows - row, 8);
    const std::uint64_t word = eight.gathered(read_word(mask + row, some));
    std::memcpy(bits, &word, row_bytes(some * columns));
  }
}

void put_rows(const std::uint8_t* bits, std::size_t rows, std::size_t columns, std::uint8_t* mask) {
  for (std::size_t row = 0; row < rows; ++row) {
    BitWriter(mask + row * row_bytes(columns), 0).append(bits, row * columns, columns);
  }
}

void take_rows(const std::uint8_t* mask, std::size_t rows, std::size_t columns,
               std::uint8_t* bits) {
  BitWriter flat(bits, 0);
  for (std::size_t row = 0; row < rows; ++row) {
    flat.append(mask + row * row_bytes(columns), 0, columns);
  }
}

}  // namespace

FlatMask::FlatMask(std::uint8_t* mask, std::size_t rows, std::size_t columns)
    : mask_(mask), rows_(rows), columns_(columns), copy_(flat_copy(rows, columns)) {}

void FlatMask::finish() {
  if (copy_) (columns_ < 8 ? put_short_rows : put_rows)(copy_.get(), rows_, columns_, mask_);
}

FlatView::FlatView(const std::uint8_t* mask, std::size_t rows, std::size_t columns)
    : mask_(mask), copy_(flat_copy(rows, columns)) {
  if (copy_) (columns < 8 ? take_short_rows : take_rows)(mask, rows, columns, copy_.get());
}

}  // namespace prunepack
