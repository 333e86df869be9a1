#include "list_linear.h"

#include <algorithm>
#include <vector>

#include "activation_rows.h"
#include "chunks.h"
#include "prunepack/masks.h"
#include "rounding.h"
#include "scratch.h"
#include "transpose.h"

namespace prunepack {
namespace {

std::size_t padded(std::size_t rows) {
  return *std::lower_bound(std::begin(kListBatches), std::end(kListBatches), rows);
}

// The activations column by column, in batches one after the other.
class ColumnsOfX {
 public:
  ColumnsOfX(const Kernels& kernels, std::size_t columns, const LinearArguments& arguments)
      : columns_(round_up(columns, kMaskBits)), steps_(arguments.batch, 1.0f) {
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
    float block[kMostListBatch][kBlock] = {};
    for (std::size_t c = 0; c < columns; c += kBlock) {
      const std::size_t count = std::min(kBlock, columns - c);
      for (std::size_t b = 0; b < rows; ++b) {
        round_activations(x.floats(first + b, c, count), count, to, steps_[first + b], block[b]);
        std::fill(block[b] + count, block[b] + kBlock, 0.0f);
      }
      transpose(block[0], kBlock, width, std::min(kBlock, columns_ - c), out + c * width, width);
    }
  }

  std::size_t columns_;
  std::vector<float> steps_;
  Scratch<float> memory_;
};

// The lists of some rows, each in stripes of kListColumns columns.
class Lists {
 public:
  Lists(const Kernels& kernels, const Prepared& matrix, std::size_t begin, std::size_t end)
      : kernels_(*kernels.lists),
        matrix_(matrix),
        stripes_((matrix.columns + kListColumns - 1) / kListColumns) {
    const std::size_t first = matrix.row_offsets[begin];
    const std::size_t kept = matrix.row_offsets[end] - first;
    const ListValues widen = kernels_.values[matrix.dtype];
    float* const widened = take_memory((end - begin) * stripes_, widen == nullptr ? 0 : kept, kept);
    auto* columns = reinterpret_cast<std::uint16_t*>(widened + (widen == nullptr ? 0 : kept));
    for (std::size_t row = begin; row < end; ++row) {
      const std::size_t before = matrix.row_offsets[row];
      const std::size_t count = matrix.row_offsets[row + 1] - before;
      const auto* packed =
          static_cast<const std::uint8_t*>(matrix.packed.values) + before * width(matrix.dtype);
      const auto* values = reinterpret_cast<const float*>(packed);
      if (widen != nullptr) {
        widen(packed, count, widened + (before - first));
        values = widened + (before - first);
      }
      columns += put_row(row, values, count, columns, lists_ + (row - begin) * stripes_);
    }
  }

  std::size_t stripes() const { return stripes_; }
  const List& at(std::size_t i, std::size_t stripe) const { return lists_[i * stripes_ + stripe]; }

 private:
  // Never goes beyond the `count` values of the row, whatever has become of its mask since they
  // were counted.
  std::size_t put_row(std::size_t row, const float* values, std::size_t count,
                      std::uint16_t* columns, List* lists) const {
    const std::size_t mask_bytes = row_bytes(matrix_.columns);
    const std::uint8_t* const mask = matrix_.packed.mask + row * mask_bytes;
    std::size_t done = 0;
    for (std::size_t stripe = 0; stripe < stripes_; ++stripe) {
      const std::size_t first = stripe * kListColumns / 8;
      const std::size_t bytes = std::min(kListColumns / 8, mask_bytes - first);
      const std::size_t found = kernels_.columns(mask + first, bytes, columns + done);
      lists[stripe] = {columns + done, values + done, std::min(found, count - done)};
      done += lists[stripe].count;
    }
    return done;
  }

  // One block for the lists, the widened values, where this returns, and the columns.
  float* take_memory(std::size_t lists, std::size_t widened, std::size_t kept) {
    const std::size_t columns = kept + kListColumns + kListSlack;
    memory_ = Scratch<std::uint8_t>(lists * sizeof(List) + widened * sizeof(float) +
                                    columns * sizeof(std::uint16_t));
    lists_ = reinterpret_cast<List*>(memory_.get());
    return reinterpret_cast<float*>(lists_ + lists);
  }

  const ListKernels& kernels_;
  const Prepared& matrix_;
  std::size_t stripes_;
  Scratch<std::uint8_t> memory_;
  List* lists_ = nullptr;
};

// Scales, biases and stores the sums of some rows of the matrix and one batch.
void finish(const Prepared& matrix, const LinearArguments& arguments, const ColumnsOfX& x,
            std::size_t begin, std::size_t end, std::size_t first, std::size_t rows,
            const float* sums) {
  transpose(sums, padded(rows), end - begin, rows, arguments.y + first * matrix.rows + begin,
            matrix.rows);
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

// How many rows make a piece of work: lists that stay in the L1 cache for one batch, in a share of
// the L3 cache for several, because all of x passes by for every piece; and enough pieces to keep
// the threads equally busy.
std::size_t rows_of_piece(const Prepared& matrix, std::size_t batch, unsigned threads) {
  constexpr std::size_t in_l1 = 64 * 1024, in_l3 = 4 * 1024 * 1024;
  constexpr std::size_t element_bytes = sizeof(std::uint16_t) + sizeof(float);
  const std::size_t bytes = matrix.row_offsets.back() * element_bytes;
  const std::size_t cached = bytes / (batch > kMostListBatch ? in_l3 : in_l1);
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
    const Lists lists(kernels, matrix, begin, end);
    Scratch<float> sums((end - begin) * kMostListBatch);
    for (std::size_t first = 0; first < arguments.batch; first += kMostListBatch) {
      const std::size_t rows = std::min(kMostListBatch, arguments.batch - first);
      const std::size_t width = padded(rows);
      std::fill_n(sums.get(), (end - begin) * width, 0.0f);
      for (std::size_t stripe = 0; stripe < lists.stripes(); ++stripe) {
        const float* const columns = x.batch(first, rows, stripe * kListColumns);
        for (std::size_t i = 0; i < end - begin; ++i) {
          kernels.lists->product(lists.at(i, stripe), columns, width, sums.get() + i * width);
        }
      }
      finish(matrix, arguments, x, begin, end, first, rows, sums.get());
    }
  });
}

}  // namespace prunepack
