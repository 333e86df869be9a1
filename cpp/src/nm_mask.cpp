// nm_mask for whole tensors: remainders of lines, and groups that do not lie along the last axis.
#include <algorithm>
#include <cstring>
#include <vector>

#include "bits.h"
#include "chunks.h"
#include "flat_mask.h"
#include "prunepack/masks.h"

namespace prunepack {
namespace {

struct Pattern {
  std::size_t n, m;

  // What a group of only `size` weights loses: it stands for m, the missing ones pruned first.
  std::size_t pruned_of(std::size_t size) const { return n > m - size ? n - (m - size) : 0; }
};

// The mask of one line of contiguous weights, remainder included. `bits` is the line's own.
class LineMask {
 public:
  LineMask(NmMask kernel, std::size_t element_bytes, Pattern pattern)
      : kernel_(kernel),
        element_bytes_(element_bytes),
        pattern_(pattern),
        rest_(row_bytes(pattern.m)) {}

  void write(const std::uint8_t* line, std::size_t length, std::uint8_t* bits) {
    const std::size_t groups = length / pattern_.m, whole = groups * pattern_.m;
    kernel_(line, groups, pattern_.n, pattern_.m, bits);
    if (const std::size_t rest = length - whole; rest > 0) {
      kernel_(line + whole * element_bytes_, 1, pattern_.pruned_of(rest), rest, rest_.data());
      BitWriter(bits, whole).append(rest_.data(), 0, rest);
    }
  }

 private:
  NmMask kernel_;
  std::size_t element_bytes_;
  Pattern pattern_;
  std::vector<std::uint8_t> rest_;
};

// Groups that fill their lines: one flat run of groups, whatever the lines.
void whole_groups(NmMask kernel, const Weights& weights, Pattern pattern, std::uint8_t* bits,
                  unsigned threads) {
  const auto* data = static_cast<const std::uint8_t*>(weights.data);
  const std::size_t bytes = width(weights.dtype);
  for_chunks(
      weights.count(), bytes, 8 * pattern.m, threads, [&](std::size_t first, std::size_t count) {
        kernel(data + first * bytes, count / pattern.m, pattern.n, pattern.m, bits + first / 8);
      });
}

// Lines that end in a smaller group. Eight lines always end on a whole byte.
void lines_with_rest(NmMask kernel, const Weights& weights, const Lines& lines, Pattern pattern,
                     std::uint8_t* bits, unsigned threads) {
  const auto* data = static_cast<const std::uint8_t*>(weights.data);
  const std::size_t bytes = width(weights.dtype);
  for_chunks(lines.outer, bytes * lines.length, 8, threads,
             [&](std::size_t first, std::size_t count) {
               LineMask mask(kernel, bytes, pattern);
               std::vector<std::uint8_t> line_bits(row_bytes(lines.length));
               BitWriter out(bits, first * lines.length);
               for (std::size_t line = first; line < first + count; ++line) {
                 mask.write(data + line * lines.length * bytes, lines.length, line_bits.data());
                 out.append(line_bits.data(), 0, lines.length);
               }
             });
}

// Groups across the rows of a (length, inner) matrix: a block of some columns and whole groups is
// transposed, so that groups are contiguous, and its mask is transposed back.
class AcrossRows {
 public:
  static constexpr std::size_t kColumns = 56;  // as many as BitWriter takes at once, whole bytes

  AcrossRows(NmMask kernel, std::size_t element_bytes, const Lines& lines, Pattern pattern)
      : element_bytes_(element_bytes),
        lines_(lines),
        height_(std::min(lines.length, std::max<std::size_t>(256 / pattern.m, 1) * pattern.m)),
        mask_(kernel, element_bytes, pattern),
        block_(kColumns * height_ * element_bytes),
        bits_(kColumns * row_bytes(height_)) {}

  // The mask of columns [first, first + columns) of the matrix, whose mask begins at bit `start`.
  void write(const std::uint8_t* matrix, std::size_t first, std::size_t columns, std::uint8_t* bits,
             std::size_t start) {
    for (std::size_t row = 0; row < lines_.length; row += height_) {
      const std::size_t rows = std::min(height_, lines_.length - row);
      transpose(matrix + (row * lines_.inner + first) * element_bytes_, rows, columns);
      for (std::size_t column = 0; column < columns; ++column) {
        mask_.write(block_.data() + column * rows * element_bytes_, rows,
                    bits_.data() + column * row_bytes(rows));
      }
      for (std::size_t i = 0; i < rows; ++i) {
        put_row(i, rows, columns, bits, start + (row + i) * lines_.inner + first);
      }
    }
  }

 private:
  void transpose(const std::uint8_t* from, std::size_t rows, std::size_t columns) {
    switch (element_bytes_) {
      case 1:
        return transpose_as<std::uint8_t>(from, rows, columns);
      case 2:
        return transpose_as<std::uint16_t>(from, rows, columns);
      case 4:
        return transpose_as<std::uint32_t>(from, rows, columns);
      default:
        return transpose_as<std::uint64_t>(from, rows, columns);
    }
  }

  template <class Bits>
  void transpose_as(const std::uint8_t* from, std::size_t rows, std::size_t columns) {
    const auto* in = reinterpret_cast<const Bits*>(from);
    auto* out = reinterpret_cast<Bits*>(block_.data());
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < columns; ++j) out[j * rows + i] = in[i * lines_.inner + j];
    }
  }

  // Row i of the block's mask goes to the matrix's mask at bit `to`. The bytes it shares with its
  // neighbours were zero before the first of them came.
  void put_row(std::size_t i, std::size_t rows, std::size_t columns, std::uint8_t* bits,
               std::size_t to) {
    std::uint64_t word = 0;
    for (std::size_t j = 0; j < columns; ++j) {
      word |= std::uint64_t{bit_at(bits_.data() + j * row_bytes(rows), i)} << j;
    }
    word <<= to % 8;
    for (std::uint8_t* byte = bits + to / 8; word != 0; ++byte, word >>= 8) {
      *byte = static_cast<std::uint8_t>(*byte | word);
    }
  }

  std::size_t element_bytes_;
  Lines lines_;
  std::size_t height_;
  LineMask mask_;
  std::vector<std::uint8_t> block_, bits_;
};

void groups_across_rows(NmMask kernel, const Weights& weights, const Lines& lines, Pattern pattern,
                        std::uint8_t* bits, unsigned threads) {
  const auto* data = static_cast<const std::uint8_t*>(weights.data);
  const std::size_t bytes = width(weights.dtype), matrix = lines.length * lines.inner;
  const unsigned worth = threads_worth(weights.count() * bytes, threads);
  std::memset(bits, 0, row_bytes(weights.count()));

  // Two tasks must not share a byte of the mask: where rows are whole bytes a task is some columns
  // of a matrix, elsewhere it is eight matrices.
  const std::size_t panels = (lines.inner + AcrossRows::kColumns - 1) / AcrossRows::kColumns;
  const std::size_t matrices_per_task = lines.inner % 8 == 0 ? 1 : 8;
  const std::size_t panels_per_task = lines.inner % 8 == 0 ? 1 : panels;
  const std::size_t tasks_per_matrix = panels / panels_per_task;
  const std::size_t tasks =
      (lines.outer + matrices_per_task - 1) / matrices_per_task * tasks_per_matrix;

  parallel_for(tasks, worth, [&](std::size_t task) {
    AcrossRows block(kernel, bytes, lines, pattern);
    const std::size_t o = task / tasks_per_matrix * matrices_per_task;
    const std::size_t p = task % tasks_per_matrix * panels_per_task;
    for (std::size_t i = o; i < std::min(o + matrices_per_task, lines.outer); ++i) {
      for (std::size_t panel = p; panel < p + panels_per_task; ++panel) {
        const std::size_t first = panel * AcrossRows::kColumns;
        block.write(data + i * matrix * bytes, first,
                    std::min(AcrossRows::kColumns, lines.inner - first), bits, i * matrix);
      }
    }
  });
}

}  // namespace

void nm_mask(const Kernels& kernels, const Weights& weights, const Lines& lines, std::size_t n,
             std::size_t m, std::uint8_t* mask, unsigned threads) {
  if (weights.count() == 0) return;
  // A line shorter than a group is one smaller group.
  Pattern pattern{n, m};
  if (m > lines.length) pattern = {pattern.pruned_of(lines.length), lines.length};

  const NmMask kernel = (*kernels.nm_mask)[weights.dtype];
  FlatMask flat(mask, weights.rows, weights.columns);
  if (lines.inner > 1) {
    groups_across_rows(kernel, weights, lines, pattern, flat.bits(), threads);
  } else if (lines.length % pattern.m == 0) {
    whole_groups(kernel, weights, pattern, flat.bits(), threads);
  } else {
    lines_with_rest(kernel, weights, lines, pattern, flat.bits(), threads);
  }
  flat.finish();
}

}  // namespace prunepack
