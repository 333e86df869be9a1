// Groups that do not lie along the last axis stand side by side: a band of m rows, each of
// `lines.inner` weights, holds that many groups.
#include "nm_across.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "bits.h"
#include "chunks.h"
#include "flat_mask.h"
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

// The masks of bands that follow each other, as one run of bits. Where rows are short, several
// bands are set side by side first, so that the kernel has long ones.
class BandMasks {
 public:
  BandMasks(NmColumns kernel, std::size_t element_bytes, std::size_t inner, std::size_t most_rows)
      : kernel_(kernel),
        element_bytes_(element_bytes),
        inner_(inner),
        at_once_(std::max<std::size_t>(kBytesAtOnce / (most_rows * inner * element_bytes), 1)),
        mask_stride_(row_bytes(at_once_ * inner) + sizeof(std::uint64_t)),
        block_(at_once_ == 1 ? 0 : at_once_ * most_rows * inner * element_bytes + kSlack),
        rows_(most_rows * mask_stride_),
        bits_(row_bytes(at_once_ * most_rows * inner) + sizeof(std::uint64_t)) {}

  // Appends the mask of `bands` bands of `rows` rows, of each of whose groups `pruned` are pruned.
  void append(const std::uint8_t* weights, std::size_t bands, std::size_t rows, std::size_t pruned,
              BitWriter& out) {
    const std::size_t band_bytes = rows * inner_ * element_bytes_;
    for (std::size_t band = 0; band < bands; band += at_once_) {
      append_some(weights + band * band_bytes, std::min(at_once_, bands - band), rows, pruned, out);
    }
  }

 private:
  static constexpr std::size_t kBytesAtOnce = 16 * 1024, kSlack = 16;

  void append_some(const std::uint8_t* weights, std::size_t bands, std::size_t rows,
                   std::size_t pruned, BitWriter& out) {
    const std::size_t columns = bands * inner_;
    if (bands > 1) set_side_by_side(weights, bands, rows);
    kernel_(bands > 1 ? block_.data() : weights, columns, columns, pruned, rows, rows_.data(),
            mask_stride_);
    if (inner_ <= kShort) {
      join_short_rows(bands, rows);
      out.append(bits_.data(), 0, rows * columns);
    } else {
      for (std::size_t band = 0; band < bands; ++band) {
        for (std::size_t row = 0; row < rows; ++row) {
          out.append(rows_.data() + row * mask_stride_, band * inner_, inner_);
        }
      }
    }
  }

  // Row by row, so that what a copy writes too much is written again.
  void set_side_by_side(const std::uint8_t* weights, std::size_t bands, std::size_t rows) {
    const std::size_t bytes = inner_ * element_bytes_;
    const std::size_t copied = (bytes + kSlack - 1) / kSlack * kSlack;
    const std::uint8_t* const end = weights + bands * rows * bytes;
    std::uint8_t* to = block_.data();
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t band = 0; band < bands; ++band, to += bytes) {
        const std::uint8_t* const from = weights + (band * rows + row) * bytes;
        if (static_cast<std::size_t>(end - from) < copied) {
          std::memcpy(to, from, bytes);
        } else {
          for (std::size_t i = 0; i < bytes; i += kSlack) std::memcpy(to + i, from + i, kSlack);
        }
      }
    }
  }

  // Rows of so few bits fit a word at any place in a byte.
  static constexpr std::size_t kShort = 56;

  void join_short_rows(std::size_t bands, std::size_t rows) {
    std::uint8_t* to = bits_.data();
    std::uint64_t held = 0;
    std::size_t used = 0;  // bits of `held`, fewer than 8
    for (std::size_t column = 0; column < bands * inner_; column += inner_) {
      const std::uint8_t* from = rows_.data() + column / 8;
      for (std::size_t row = 0; row < rows; ++row, from += mask_stride_) {
        std::uint64_t word;
        std::memcpy(&word, from, sizeof word);
        held |= (word >> column % 8 & low_bits(inner_)) << used;
        std::memcpy(to, &held, sizeof held);
        used += inner_;
        to += used / 8;
        held >>= used / 8 * 8;
        used %= 8;
      }
    }
  }

  NmColumns kernel_;
  std::size_t element_bytes_, inner_, at_once_, mask_stride_;
  std::vector<std::uint8_t> block_, rows_, bits_;
};

// Bands whose rows begin anywhere in the mask. Eight of a kind end on a whole byte.
void bands_of_bits(NmColumns kernel, const Weights& weights, const Lines& lines, NmPattern pattern,
                   std::uint8_t* bits, unsigned threads) {
  const auto* data = static_cast<const std::uint8_t*>(weights.data);
  const std::size_t bytes = width(weights.dtype), band = pattern.m * lines.inner;
  const std::size_t bands = lines.length / pattern.m, rest = lines.length % pattern.m;
  if (rest == 0) {
    for_chunks(lines.outer * bands, band * bytes, 8, threads,
               [&](std::size_t first, std::size_t count) {
                 BandMasks masks(kernel, bytes, lines.inner, pattern.m);
                 BitWriter out(bits, first * band);
                 masks.append(data + first * band * bytes, count, pattern.m, pattern.n, out);
               });
    return;
  }
  const std::size_t matrix = lines.length * lines.inner;
  for_chunks(lines.outer, matrix * bytes, 8, threads, [&](std::size_t first, std::size_t count) {
    BandMasks masks(kernel, bytes, lines.inner, pattern.m);
    BitWriter out(bits, first * matrix);
    for (std::size_t i = first; i < first + count; ++i) {
      const std::uint8_t* from = data + i * matrix * bytes;
      masks.append(from, bands, pattern.m, pattern.n, out);
      masks.append(from + bands * band * bytes, 1, rest, pattern.pruned_of(rest), out);
    }
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
  FlatMask flat(mask, weights.rows, weights.columns);
  if (!is_upright) {
    tall_groups(kernels, weights, lines, pattern, flat.bits(), threads);
  } else if (lines.inner % 8 == 0 && lines.inner >= kLongRow) {
    bands_in_place(columns, weights, lines, pattern, flat.bits(), lines.inner / 8, threads);
  } else {
    bands_of_bits(columns, weights, lines, pattern, flat.bits(), threads);
  }
  flat.finish();
}

}  // namespace prunepack
