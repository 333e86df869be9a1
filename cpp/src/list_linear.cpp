#include "list_linear.h"

#include <algorithm>
#include <vector>

#include "activation_rows.h"
#include "chunks.h"
#include "rounding.h"
#include "row_lists.h"
#include "scratch.h"
#include "transpose.h"

namespace prunepack {
namespace {

// The batch that kernels are made for, with room for so many rows.
std::size_t padded(std::size_t rows) {
  if (rows == 1) return 1;  // ListDots
  return *std::lower_bound(std::begin(kListBatches), std::end(kListBatches), rows);
}

// The activations column by column, in batches one after the other.
class ColumnsOfX {
 public:
  ColumnsOfX(const Kernels& kernels, std::size_t columns, const LinearArguments& arguments)
      : columns_(padded_columns(columns)), steps_(arguments.batch, 1.0f) {
    std::size_t rows = 0;
    for (std::size_t first = 0; first < arguments.batch; first += kMostListBatch) {
      rows += padded(std::min(kMostListBatch, arguments.batch - first));
    }
    memory_ = Scratch<float>(rows * columns_);
    ActivationRows x(kernels, arguments, columns);
    for (std::size_t first = 0; first < arguments.batch; first += kMostListBatch) {
      put_batch(x, columns, first, std::min(kMostListBatch, arguments.batch - first), arguments);
    }
  }

  // The batch of rows from `first_row`, from a column on.
  const float* batch(std::size_t first_row, std::size_t rows, std::size_t column) const {
    return memory_.get() + first_row * columns_ + column * padded(rows);
  }
  float step(std::size_t row) const { return steps_[row]; }

 private:
  static constexpr std::size_t kMaskBits = 8;  // bytes of a mask are whole
  static constexpr std::size_t kBlock = 64;

  // Lists may be read beyond their end, where columns of another stripe are.
  static std::size_t padded_columns(std::size_t columns) {
    return columns > kListColumns ? round_up(columns, kListColumns) : round_up(columns, kMaskBits);
  }

  void put_batch(ActivationRows& x, std::size_t columns, std::size_t first, std::size_t rows,
                 const LinearArguments& arguments) {
    if (arguments.activations == Activations::int8) {
      for (std::size_t b = first; b < first + rows; ++b) {
        steps_[b] = int8_step(x.floats(b, 0, columns), columns);
      }
    }
    const bool rounded = arguments.activations == Activations::bfloat16 &&
                         arguments.x_dtype == Dtype::bfloat16;  // there is nothing left to round
    const Activations to = rounded ? Activations::float32 : arguments.activations;
    const std::size_t width = padded(rows);
    float* const out = memory_.get() + first * columns_;
    std::fill(out + columns * width, out + columns_ * width, 0.0f);
    if (width == 1) {
      round_activations(x.floats(first, 0, columns), columns, to, steps_[first], out);
      return;
    }
    const bool as_they_are = to == Activations::float32 && x.are_float32() && rows == width;
    float block[kMostListBatch][kBlock] = {};
    for (std::size_t c = 0; c < columns; c += kBlock) {
      const std::size_t count = std::min(kBlock, columns - c);
      if (as_they_are) {
        transpose(x.floats(first, c, count), columns, rows, count, out + c * width, width);
        continue;
      }
      for (std::size_t b = 0; b < rows; ++b) {
        round_activations(x.floats(first + b, c, count), count, to, steps_[first + b], block[b]);
      }
      transpose(block[0], kBlock, width, count, out + c * width, width);
    }
  }

  std::size_t columns_;
  std::vector<float> steps_;
  Scratch<float> memory_;
};

// The lists of some rows, stripe by stripe: those that the matrix keeps, or made for this piece.
class PieceLists {
 public:
  // For one row of activations the values may stay as they are.
  PieceLists(const Kernels& kernels, const Prepared& matrix, std::size_t begin, std::size_t end,
             bool widened)
      : rows_(end - begin), dtype_(matrix.dtype), stripes_(list_stripes(matrix.columns)) {
    const std::size_t count = matrix.row_offsets[end] - matrix.row_offsets[begin];
    const ListValues widen = widened ? kernels.lists->values[dtype_] : nullptr;
    if (widen != nullptr) {
      widened_ = Scratch<float>(count);
      dtype_ = Dtype::float32;
    }
    if (matrix.layout == Layout::csr) {
      take(matrix, begin, widen);
    } else {
      make(kernels, matrix, begin, end, widen);
    }
  }

  Dtype dtype() const { return dtype_; }  // of the values
  const std::vector<Lists>& stripes() const { return stripes_; }

 private:
  // Values as the lists have them: widened, after `before` others.
  const void* as_needed(const std::uint8_t* values, std::size_t count, std::size_t before,
                        ListValues widen) {
    if (widen == nullptr) return values;
    widen(values, count, widened_.get() + before);
    return widened_.get() + before;
  }

  void take(const Prepared& matrix, std::size_t first_row, ListValues widen) {
    std::size_t before = 0;
    for (std::size_t stripe = 0; stripe < stripes_.size(); ++stripe) {
      const std::size_t* const begins =
          matrix.list_begins.data() + stripe * matrix.rows + first_row;
      const std::size_t begin = begins[0], count = begins[rows_] - begin;
      const std::uint8_t* const values = matrix.list_values.get() + begin * width(matrix.dtype);
      stripes_[stripe] = {.columns = matrix.list_columns.get() + begin,
                          .values = as_needed(values, count, before, widen),
                          .begins = begins,
                          .stride = 1,
                          .count = rows_,
                          .readable = count};
      before += count;
    }
  }

  // Writes the columns of a row and where its lists begin. Never more of them than it has values,
  // whatever has become of its mask since they were counted, and never fewer.
  void write_row(const ListKernels& kernels, const Prepared& matrix, std::size_t row,
                 std::uint16_t* columns, std::size_t* begins) const {
    const std::size_t begin = matrix.row_offsets[row], count = matrix.row_offsets[row + 1] - begin;
    std::size_t done = 0;
    for (std::size_t stripe = 0; stripe < stripes_.size(); ++stripe) {
      begins[stripe] = begin + done;
      const StripeMask mask(matrix.packed, row, stripe);
      done = std::min(done + kernels.columns(mask.begin, mask.bytes, columns + done), count);
    }
    std::fill(columns + done, columns + count, std::uint16_t{0});
  }

  void make(const Kernels& kernels, const Prepared& matrix, std::size_t first_row,
            std::size_t end_row, ListValues widen) {
    const std::vector<std::size_t>& offsets = matrix.row_offsets;
    const std::size_t first = offsets[first_row], count = offsets[end_row] - first;
    const std::size_t lists = rows_ * stripes_.size();
    memory_ = Scratch<std::uint8_t>((lists + 1) * sizeof(std::size_t) +
                                    (count + kListRoom) * sizeof(std::uint16_t));
    auto* const begins = reinterpret_cast<std::size_t*>(memory_.get());
    auto* const columns = reinterpret_cast<std::uint16_t*>(begins + lists + 1);
    for (std::size_t row = first_row; row < end_row; ++row) {
      write_row(*kernels.lists, matrix, row, columns + (offsets[row] - first),
                begins + (row - first_row) * stripes_.size());
    }
    begins[lists] = first + count;
    const auto* const packed = static_cast<const std::uint8_t*>(matrix.packed.values);
    const auto* const values = static_cast<const std::uint8_t*>(
        as_needed(packed + first * width(matrix.dtype), count, 0, widen));
    for (std::size_t stripe = 0; stripe < stripes_.size(); ++stripe) {
      const std::size_t before = begins[stripe] - first;
      stripes_[stripe] = {.columns = columns + before,
                          .values = values + before * width(dtype_),
                          .begins = begins + stripe,
                          .stride = stripes_.size(),
                          .count = rows_,
                          .readable = count - before};
    }
  }

  std::size_t rows_;
  Dtype dtype_;
  std::vector<Lists> stripes_;
  Scratch<std::uint8_t> memory_;
  Scratch<float> widened_;
};

// Scales, biases and stores the sums of some rows of the matrix and one batch.
void finish(const Prepared& matrix, const LinearArguments& arguments, const ColumnsOfX& x,
            std::size_t begin, std::size_t end, std::size_t first, std::size_t rows,
            const float* sums) {
  float* const out = arguments.y + first * matrix.rows + begin;
  if (padded(rows) == 1) {
    std::copy_n(sums, end - begin, out);
  } else {
    transpose(sums, padded(rows), end - begin, rows, out, matrix.rows);
  }
  for (std::size_t b = 0; b < rows; ++b) {
    float* const y = arguments.y + (first + b) * matrix.rows;
    if (arguments.activations == Activations::int8) {
      for (std::size_t row = begin; row < end; ++row) y[row] *= x.step(first + b);
    }
    if (arguments.scales != nullptr) {
      for (std::size_t row = begin; row < end; ++row) y[row] *= arguments.scales[row];
    }
    if (arguments.bias != nullptr) {
      for (std::size_t row = begin; row < end; ++row) y[row] += arguments.bias[row];
    }
  }
}

// How many rows make a piece of work: lists that stay in the L2 cache for one batch, in a share of
// the L3 cache for several, because all of x passes by for every piece; and enough pieces to keep
// the threads equally busy.
std::size_t rows_of_piece(const Prepared& matrix, std::size_t batch, unsigned threads) {
  constexpr std::size_t in_l2 = 256 * 1024, in_l3 = 4 * 1024 * 1024;
  constexpr std::size_t element_bytes = sizeof(std::uint16_t) + sizeof(float);
  const std::size_t bytes = matrix.row_offsets.back() * element_bytes;
  const std::size_t cached = bytes / (batch > kMostListBatch ? in_l3 : in_l2);
  const std::size_t pieces = std::max<std::size_t>(cached, threads > 1 ? 4 * threads : 1);
  return std::max<std::size_t>(matrix.rows / pieces, 8);
}

}  // namespace

void linear_by_lists(const Kernels& kernels, const Prepared& matrix,
                     const LinearArguments& arguments, unsigned threads) {
  const ColumnsOfX x(kernels, matrix.columns, arguments);
  const std::size_t products = matrix.row_offsets.back() * arguments.batch;
  const unsigned useful = threads_worth(products * sizeof(float), threads);
  const std::size_t step = rows_of_piece(matrix, arguments.batch, useful);
  parallel_for((matrix.rows + step - 1) / step, useful, [&](std::size_t piece) {
    const std::size_t begin = piece * step, end = std::min(matrix.rows, begin + step);
    const PieceLists lists(kernels, matrix, begin, end, arguments.batch > 1);
    Scratch<float> sums((end - begin) * padded(std::min(kMostListBatch, arguments.batch)));
    for (std::size_t first = 0; first < arguments.batch; first += kMostListBatch) {
      const std::size_t rows = std::min(kMostListBatch, arguments.batch - first);
      const std::size_t width = padded(rows);
      std::fill_n(sums.get(), (end - begin) * width, 0.0f);
      std::size_t column = 0;
      for (const Lists& stripe : lists.stripes()) {
        const float* const columns = x.batch(first, rows, column);
        if (width == 1) {
          (*kernels.list_dots)[lists.dtype()](stripe, columns, sums.get());
        } else {
          kernels.lists->product(stripe, columns, width, sums.get());
        }
        column += kListColumns;
      }
      finish(matrix, arguments, x, begin, end, first, rows, sums.get());
    }
  });
}

}  // namespace prunepack
