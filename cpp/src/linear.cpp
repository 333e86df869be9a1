// Linear layers: arranges the activations as kernels want them, lets threads work through the
// panels, and scales, biases and stores the sums.
#include "prunepack/linear.h"

#include <algorithm>
#include <cstring>

#include "activation_rows.h"
#include "chunks.h"
#include "list_linear.h"
#include "panel_expansion.h"
#include "product_form.h"
#include "rounding.h"
#include "scratch.h"

namespace prunepack {
namespace {

// As many panels as stay in a core's L2 cache while every row of activations passes over them.
constexpr std::size_t kPiecesBytes = 256 * 1024;

// Beyond this many columns, int32 sums of int8 weights and uint8 activations may overflow.
constexpr std::size_t kMostIntColumns = 65'536;

std::size_t padded_batch(std::size_t rows) {
  return *std::lower_bound(std::begin(kBatches), std::end(kBatches), rows);
}

Product product_of(const Kernels& kernels, Layout layout, const Prepared& matrix,
                   Activations activations) {
  const auto has = [&](Product product) {
    return panel_product(kernels, layout, product) != nullptr;
  };
  if (activations == Activations::bfloat16 && has(Product::bfloat16_bfloat16)) {
    return Product::bfloat16_bfloat16;
  }
  if (activations == Activations::int8 && has(Product::int8_int8) &&
      matrix.columns <= kMostIntColumns) {
    return Product::int8_int8;
  }
  switch (matrix.dtype) {
    case Dtype::float16:
      return Product::float16_float32;
    case Dtype::bfloat16:
      return Product::bfloat16_float32;
    case Dtype::int8:
      return Product::int8_float32;
    default:
      return Product::float32_float32;
  }
}

// The activations in the order of panels.h, in batches one after the other. Of no columns a block
// too, for kernels that reckon where the next row of it begins before they see that there is none.
class Arranged {
 public:
  Arranged(const Kernels& kernels, const Prepared& matrix, const LinearArguments& arguments,
           Product product)
      : blocks_(std::max<std::size_t>(matrix.blocks, 1)),
        product_(product),
        steps_(arguments.batch, 1.0f) {
    for (std::size_t row = 0; row < arguments.batch; row += kMostBatch) {
      padded_ += padded_batch(std::min(kMostBatch, arguments.batch - row));
    }
    memory_ = Scratch<std::uint8_t>(padded_ * row_bytes());
    std::memset(memory_.get(), product == Product::int8_int8 ? 128 : 0, padded_ * row_bytes());
    ActivationRows x(kernels, arguments, matrix.columns);
    const bool as_they_are =
        product == Product::bfloat16_bfloat16 && arguments.x_dtype == Dtype::bfloat16;
    for (std::size_t row = 0; row < arguments.batch; ++row) {
      if (as_they_are) {
        put_bits(x.bits(row), matrix.columns, row, arguments.batch);
        continue;
      }
      const float* const floats = x.floats(row, 0, matrix.columns);
      if (arguments.activations == Activations::int8) {
        steps_[row] = int8_step(floats, matrix.columns);
      }
      put(floats, matrix.columns, row, arguments);
    }
  }

  // The batch of `rows` rows from `first_row`, from a block on.
  const void* batch(std::size_t first_row, std::size_t rows, std::size_t block) const {
    return memory_.get() + first_row * row_bytes() + block * kBlockColumns * rows * element_bytes();
  }
  float step(std::size_t row) const { return steps_[row]; }

 private:
  std::size_t element_bytes() const {
    return product_ == Product::int8_int8 ? 1 : product_ == Product::bfloat16_bfloat16 ? 2 : 4;
  }
  std::size_t row_bytes() const { return blocks_ * kBlockColumns * element_bytes(); }

  // Calls put(c, count, out) for each block of a row: from column c on, to `out`.
  template <class Put>
  void for_blocks(std::size_t columns, std::size_t row, std::size_t batch, const Put& put) {
    const std::size_t first = row / kMostBatch * kMostBatch;
    const std::size_t rows = padded_batch(std::min(kMostBatch, batch - first));
    std::uint8_t* const base = memory_.get() + first * row_bytes();
    for (std::size_t c = 0; c < columns; c += kBlockColumns) {
      const std::size_t block = (c / kBlockColumns * rows + row - first) * kBlockColumns;
      put(c, std::min(kBlockColumns, columns - c), base + block * element_bytes());
    }
  }

  void put_bits(const std::uint8_t* x, std::size_t columns, std::size_t row, std::size_t batch) {
    for_blocks(columns, row, batch, [&](std::size_t c, std::size_t count, std::uint8_t* out) {
      std::memcpy(out, x + c * element_bytes(), count * element_bytes());
    });
  }

  void put(const float* x, std::size_t columns, std::size_t row, const LinearArguments& arguments) {
    for_blocks(columns, row, arguments.batch,
               [&](std::size_t c, std::size_t count, std::uint8_t* out) {
                 put_block(x + c, count, steps_[row], arguments.activations, out);
               });
  }

  void put_block(const float* x, std::size_t columns, float step, Activations activations,
                 std::uint8_t* out) const {
    if (product_ == Product::bfloat16_bfloat16) {
      auto* const halves = reinterpret_cast<std::uint16_t*>(out);
      for (std::size_t c = 0; c < columns; ++c) halves[c] = to_bfloat16(x[c]);
    } else if (product_ == Product::int8_int8) {
      for (std::size_t c = 0; c < columns; ++c) {
        out[c] = static_cast<std::uint8_t>(static_cast<int>(in_steps(x[c], step)) + 128);
      }
    } else {
      round_activations(x, columns, activations, step, reinterpret_cast<float*>(out));
    }
  }

  std::size_t blocks_;
  Product product_;
  std::vector<float> steps_;
  std::size_t padded_ = 0;
  Scratch<std::uint8_t> memory_;
};

// Scales, biases and stores the sums of one panel and one batch.
void finish(const Prepared& matrix, const LinearArguments& arguments, const Arranged& x,
            Product product, std::size_t panel, std::size_t first, std::size_t rows,
            const float* sums) {
  const std::size_t begin = panel * kPanelRows;
  const std::size_t lanes = std::min(kPanelRows, matrix.rows - begin);
  for (std::size_t b = 0; b < rows; ++b) {
    float* const y = arguments.y + (first + b) * matrix.rows + begin;
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      float sum = sums[b * kPanelRows + lane];
      if (product == Product::int8_int8) {
        std::int32_t exact;
        std::memcpy(&exact, &sums[b * kPanelRows + lane], sizeof exact);
        sum = static_cast<float>(std::int64_t{exact} -
                                 std::int64_t{128} * matrix.row_sums[begin + lane]);
      }
      if (arguments.activations == Activations::int8) sum *= x.step(first + b);
      if (arguments.scales != nullptr) sum *= arguments.scales[begin + lane];
      y[lane] = arguments.bias == nullptr ? sum : sum + arguments.bias[begin + lane];
    }
  }
}

// The sums of a piece of panels, over all stripes.
class PieceSums {
 public:
  PieceSums(const Prepared& matrix, Product product, std::size_t begin, std::size_t end)
      : integers_(product == Product::int8_int8), begin_(begin) {
    if (matrix.stripe_count() > 1) totals_ = Scratch<float>((end - begin) * kMostSums);
  }

  float* of_kernel() { return sums_; }

  // Adds what the kernel has summed up for a panel; returns the sums so far.
  const float* add(std::size_t panel, std::size_t stripe, std::size_t batch) {
    if (totals_.get() == nullptr) return sums_;
    const std::size_t count = batch * kPanelRows;
    float* const totals = totals_.get() + (panel - begin_) * count;
    if (stripe == 0) {
      std::memcpy(totals, sums_, count * sizeof(float));
    } else if (integers_) {
      add_to<std::int32_t>(totals, count);
    } else {
      add_to<float>(totals, count);
    }
    return totals;
  }

 private:
  static constexpr std::size_t kMostSums = kMostBatch * kPanelRows;

  template <class Number>
  void add_to(void* totals, std::size_t count) const {
    for (std::size_t i = 0; i < count; ++i) {
      Number total, sum;
      std::memcpy(&total, static_cast<const Number*>(totals) + i, sizeof total);
      std::memcpy(&sum, sums_ + i, sizeof sum);
      total += sum;
      std::memcpy(static_cast<Number*>(totals) + i, &total, sizeof total);
    }
  }

  bool integers_;
  std::size_t begin_;
  Scratch<float> totals_;
  alignas(kPanelAlignment) float sums_[kMostSums];
};

// The panels of a piece, as the kernel reads them: where they are, or made dense.
class PiecePanels {
 public:
  PiecePanels(const Kernels& kernels, const Prepared& matrix, bool expanded, std::size_t begin,
              std::size_t end)
      : matrix_(matrix), begin_(begin), count_(end - begin) {
    if (!expanded) return;
    dense_ = Scratch<std::uint8_t>(count_ * dense_bytes(matrix, matrix.blocks) + kPanelAlignment);
    for (std::size_t stripe = 0; stripe < matrix.stripe_count(); ++stripe) {
      for (std::size_t panel = begin; panel < end; ++panel) {
        expand_panel(kernels, matrix, matrix.stripe_blocks(stripe), prepared(stripe, panel),
                     dense_.get() + dense_at(stripe, panel));
      }
    }
  }

  const std::uint8_t* at(std::size_t stripe, std::size_t panel) const {
    if (dense_.get() == nullptr) return prepared(stripe, panel);
    return dense_.get() + dense_at(stripe, panel);
  }

 private:
  const std::uint8_t* prepared(std::size_t stripe, std::size_t panel) const {
    return matrix_.panels.get() + matrix_.offsets[stripe * matrix_.panel_count() + panel];
  }
  std::size_t dense_at(std::size_t stripe, std::size_t panel) const {
    return count_ * dense_bytes(matrix_, matrix_.stripes[stripe]) +
           (panel - begin_) * dense_bytes(matrix_, matrix_.stripe_blocks(stripe));
  }

  const Prepared& matrix_;
  std::size_t begin_, count_;
  Scratch<std::uint8_t> dense_;
};

// How many pieces the panels are cut into: enough to keep the threads equally busy, and, where
// several batches pass over them, small enough for the caches.
std::size_t pieces_of(const Prepared& matrix, std::size_t batch, bool expanded, unsigned threads) {
  const std::size_t bytes =
      expanded ? matrix.panel_count() * dense_bytes(matrix, matrix.blocks) : matrix.nbytes();
  const std::size_t cached = batch > kMostBatch ? bytes / kPiecesBytes : 0;
  return std::max<std::size_t>(cached, threads > 1 ? 4 * threads : 1);
}

// The first panel of a piece: pieces have about equal bytes.
std::size_t first_panel(const Prepared& matrix, std::size_t piece, std::size_t pieces) {
  if (piece == pieces) return matrix.panel_count();
  const std::size_t at = matrix.work.back() / pieces * piece;
  const auto found = std::lower_bound(matrix.work.begin(), matrix.work.end() - 1, at);
  return static_cast<std::size_t>(found - matrix.work.begin());
}

}  // namespace

void linear(const Kernels& kernels, const Prepared& matrix, const LinearArguments& arguments,
            unsigned threads) {
  if (matrix.panel_count() == 0 || arguments.batch == 0) return;
  const ProductForm form = form_of_product(kernels, matrix, arguments.batch, arguments.activations);
  if (form == ProductForm::lists) return linear_by_lists(kernels, matrix, arguments, threads);
  const bool expanded = form == ProductForm::dense;
  const Layout layout = expanded ? Layout::dense : matrix.layout;
  const Product product = product_of(kernels, layout, matrix, arguments.activations);
  const PanelProduct kernel = panel_product(kernels, layout, product);
  const Arranged x(kernels, matrix, arguments, product);
  const unsigned useful = threads_worth(matrix.nbytes() * arguments.batch, threads);
  const std::size_t pieces = pieces_of(matrix, arguments.batch, expanded, useful);
  parallel_for(pieces, useful, [&](std::size_t piece) {
    const std::size_t begin = first_panel(matrix, piece, pieces);
    const std::size_t end = first_panel(matrix, piece + 1, pieces);
    if (begin == end) return;
    const PiecePanels panels(kernels, matrix, expanded, begin, end);
    PieceSums sums(matrix, product, begin, end);
    for (std::size_t first = 0; first < arguments.batch; first += kMostBatch) {
      const std::size_t rows = std::min(kMostBatch, arguments.batch - first);
      for (std::size_t stripe = 0; stripe < matrix.stripe_count(); ++stripe) {
        const PanelShape shape{matrix.stripe_blocks(stripe), matrix.kept, matrix.breadth,
                               padded_batch(rows)};
        const void* activations = x.batch(first, shape.batch, matrix.stripes[stripe]);
        for (std::size_t panel = begin; panel < end; ++panel) {
          kernel(shape, panels.at(stripe, panel), activations, sums.of_kernel());
          const float* all = sums.add(panel, stripe, shape.batch);
          if (stripe + 1 < matrix.stripe_count()) continue;
          finish(matrix, arguments, x, product, panel, first, rows, all);
        }
      }
    }
  });
}

}  // namespace prunepack
