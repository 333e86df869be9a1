// Linear layers: a packed matrix made ready for computing, and products with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "prunepack/kernels.h"
#include "prunepack/panels.h"

namespace prunepack {

// A packed matrix: masks as in masks.h, and the elements that they keep, row by row.
struct PackedMatrix {
  const std::uint8_t* mask;
  const void* values;
  Dtype dtype;  // float32, float16, bfloat16 or int8
  std::size_t rows;
  std::size_t columns;
};

// A matrix in panels or, if its layout is csr, in lists, for any ISA. A wide matrix is cut into
// stripes of columns with panels of their own, so that a panel and its activations fit into a
// core's L1 cache together.
struct Prepared {
  Layout layout;
  Dtype dtype;
  std::size_t rows;
  std::size_t columns;
  std::size_t blocks;                // of columns
  std::size_t kept;                  // nm4 and nm16: of each group
  std::size_t breadth;               // blocks: columns of a tile
  std::vector<std::size_t> stripes;  // the first block of each stripe of columns, and the end
  std::vector<std::size_t> offsets;  // where each panel begins, stripe after stripe, and the end
  std::vector<std::size_t> work;     // the bytes of all panels of the rows before a panel's
  std::shared_ptr<const std::uint8_t> panels;
  std::vector<std::int32_t> row_sums;  // of int8 weights in panels
  // csr: the lists (lists.h) of all rows, stripe after stripe of kListColumns columns.
  std::shared_ptr<const std::uint16_t> list_columns;
  std::shared_ptr<const std::uint8_t> list_values;
  std::vector<std::size_t> list_begins;
  PackedMatrix packed;  // what the panels were made of; its memory must stay as long as they do
  std::vector<std::size_t> row_offsets;  // where the values of its rows begin, and the end

  std::size_t panel_count() const { return (rows + kPanelRows - 1) / kPanelRows; }  // of a stripe
  std::size_t stripe_count() const { return stripes.size() - 1; }
  std::size_t stripe_blocks(std::size_t i) const { return stripes[i + 1] - stripes[i]; }
  std::size_t nbytes() const {
    if (layout != Layout::csr) return offsets.back();
    return row_offsets.back() * (sizeof(std::uint16_t) + width(dtype)) +
           (list_begins.size() - 1) * sizeof(std::size_t);
  }
};

// What activations are rounded to before they are multiplied: bfloat16 is for bfloat16 weights,
// and int8, with a scale for each row of activations, for int8 weights.
enum class Activations : std::uint8_t { float32, bfloat16, int8 };

// Puts a matrix into panels or lists: in `layout`, or in the one that is likely to be the fastest
// with `kernels` and such activations. Throws std::invalid_argument if the matrix does not fit the
// layout. Nobody may write to the mask meanwhile. (Who does so later spoils products, and no more.)
Prepared prepare(const Kernels& kernels, const PackedMatrix& matrix, std::optional<Layout> layout,
                 Activations activations, unsigned threads);

struct LinearArguments {
  const void* x;  // (batch, columns)
  std::size_t batch;
  Activations activations;
  const float* scales;  // (rows), or nullptr: what each row of the matrix is multiplied with
  const float* bias;    // (rows), or nullptr
  float* y;             // (batch, rows)
  Dtype x_dtype = Dtype::float32;  // or float16, or bfloat16
};

// y = x times the transposed matrix, scaled, plus the bias. The result does not depend on
// `threads`.
void linear(const Kernels& kernels, const Prepared& matrix, const LinearArguments& arguments,
            unsigned threads);

}  // namespace prunepack
