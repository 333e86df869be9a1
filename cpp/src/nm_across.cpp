// Groups that do not lie along the last axis stand side by side: a band of m rows, each of
// `lines.inner` weights, holds that many groups.
#include "nm_across.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "bits.h"
#include "chunks.h"
#include "flat_mask.h"
#include "nm_band_masks.h"
#include "nm_lines.h"

namespace prunepack {
namespace {

// Bands whose rows begin on bytes of the mask, `mask_stride` apart.
void bands_in_place(NmColumns kernel, const Weights& weights, const Lines& lines, NmPattern pattern,
                    std::uint8_t* mask, std::size_t mask_stride, unsigned threads) {
  const auto* data = static_cast<const std::uint8_t*>(weights.data);
  const std::size_t bytes = width(weights.dtype);
  const std::size_t bands = (lines.length + pattern.m - 1) / pattern.m;
  const std::size_t columns = std::min(chunk_elements(pattern.m * bytes, 512), lines.inner);
  const std::size_t parts = (lines.inner + columns - 1) / columns;  // of a band

  for_chunks(lines.outer * bands * parts, pattern.m * columns * bytes, 1, threads,
             [&](std::size_t first, std::size_t count) {
               for (std::size_t part = first; part < first + count; ++part) {
                 const std::size_t band = part / parts, column = part % parts * columns;
                 const std::size_t from = band % bands * pattern.m;
                 const std::size_t rows = std::min(pattern.m, lines.length - from);
                 const std::size_t row = band / bands * lines.length + from;
                 kernel(data + (row * lines.inner + column) * bytes, lines.inner,
                        std::min(columns, lines.inner - column), pattern.pruned_of(rows), rows,
                        mask + row * mask_stride + column / 8, mask_stride);
               }
             });
}

// Bands whose rows begin anywhere in the flat mask, or are several of its rows. A task has whole
// rows of the mask, so it puts them in their places itself, out of its own cache.
void bands_of_bits(const Kernels& kernels, const Weights& weights, const Lines& lines,
                   NmPattern pattern, std::uint8_t* mask, unsigned threads) {
  const auto* data = static_cast<const std::uint8_t*>(weights.data);
  const std::size_t bytes = width(weights.dtype), band = pattern.m * lines.inner;
  const std::size_t bands = lines.length / pattern.m, rest = lines.length % pattern.m;
  // Where bands differ, a matrix of them is what repeats. Eight of what repeats are whole bytes.
  const std::size_t unit = rest == 0 ? band : lines.length * lines.inner;

  for_chunks(
      weights.count() / unit, unit * bytes, 8, threads, [&](std::size_t first, std::size_t count) {
        const std::size_t row = first * unit / weights.columns;
        FlatMask flat(mask + row * row_bytes(weights.columns), count * unit / weights.columns,
                      weights.columns);
        {
          const auto masks = band_masks(kernels, weights.dtype, lines.inner, pattern.m);
          BitWriter out(flat.bits(), 0);
          const std::uint8_t* from = data + first * unit * bytes;
          if (rest == 0) {
            masks->append(from, count, pattern.m, pattern.n, out);
          } else {
            for (std::size_t i = 0; i < count; ++i, from += unit * bytes) {
              masks->append(from, bands, pattern.m, pattern.n, out);
              masks->append(from + bands * band * bytes, 1, rest, pattern.pruned_of(rest), out);
            }
          }
        }
        flat.finish();
      });
}

// Groups too high for nm_columns: a block of some columns and whole groups is transposed, so that
// groups are contiguous, and its mask is transposed back.
class TallGroups {
 public:
  static constexpr std::size_t kColumns = 56;  // as many as BitWriter takes at once, whole bytes

  TallGroups(const Kernels& kernels, Dtype dtype, const Lines& lines, NmPattern pattern)
      : element_bytes_(width(dtype)),
        lines_(lines),
        height_(std::min(lines.length, std::max<std::size_t>(256 / pattern.m, 1) * pattern.m)),
        mask_(kernels, dtype, pattern),
        block_(kColumns * height_ * element_bytes_),
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

void tall_groups(const Kernels& kernels, const Weights& weights, const Lines& lines,
                 NmPattern pattern, std::uint8_t* bits, unsigned threads) {
  const auto* data = static_cast<const std::uint8_t*>(weights.data);
  const std::size_t bytes = width(weights.dtype), matrix = lines.length * lines.inner;
  const unsigned worth = threads_worth(weights.count() * bytes, threads);
  std::memset(bits, 0, row_bytes(weights.count()));

  // Two tasks must not share a byte of the mask: where rows are whole bytes a task is some columns
  // of a matrix, elsewhere it is eight matrices.
  const std::size_t panels = (lines.inner + TallGroups::kColumns - 1) / TallGroups::kColumns;
  const std::size_t matrices_per_task = lines.inner % 8 == 0 ? 1 : 8;
  const std::size_t panels_per_task = lines.inner % 8 == 0 ? 1 : panels;
  const std::size_t tasks_per_matrix = panels / panels_per_task;
  const std::size_t tasks =
      (lines.outer + matrices_per_task - 1) / matrices_per_task * tasks_per_matrix;

  parallel_for(tasks, worth, [&](std::size_t task) {
    TallGroups block(kernels, weights.dtype, lines, pattern);
    const std::size_t o = task / tasks_per_matrix * matrices_per_task;
    const std::size_t p = task % tasks_per_matrix * panels_per_task;
    for (std::size_t i = o; i < std::min(o + matrices_per_task, lines.outer); ++i) {
      for (std::size_t panel = p; panel < p + panels_per_task; ++panel) {
        const std::size_t first = panel * TallGroups::kColumns;
        block.write(data + i * matrix * bytes, first,
                    std::min(TallGroups::kColumns, lines.inner - first), bits, i * matrix);
      }
    }
  });
}

}  // namespace

void nm_mask_across(const Kernels& kernels, const Weights& weights, const Lines& lines,
                    NmPattern pattern, std::uint8_t* mask, unsigned threads) {
  const NmColumns columns = (*kernels.nm_columns)[weights.dtype];
  const bool is_upright = pattern.m <= kMostUpright;
  if (is_upright && lines.inner == weights.columns) {
    bands_in_place(columns, weights, lines, pattern, mask, row_bytes(lines.inner), threads);
    return;
  }
  // Rows shorter than a few registers are better set side by side.
  constexpr std::size_t kLongRow = 256;
  const bool in_place = lines.inner % 8 == 0 && lines.inner >= kLongRow;
  if (is_upright && !in_place) {
    return bands_of_bits(kernels, weights, lines, pattern, mask, threads);
  }
  FlatMask flat(mask, weights.rows, weights.columns);
  if (is_upright) {
    bands_in_place(columns, weights, lines, pattern, flat.bits(), lines.inner / 8, threads);
  } else {
    tall_groups(kernels, weights, lines, pattern, flat.bits(), threads);
  }
  flat.finish();
}

}  // namespace prunepack
