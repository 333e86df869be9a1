// Masks: prunepack/masks.h for Python. The mask is written in place.
#include "prunepack/masks.h"

#include <limits>
#include <vector>

#include "bindings.h"

namespace prunepack {
namespace {

using MaybeIsa = std::optional<std::string>;

void bound_nm_mask(const py::array& weights, Dtype dtype, std::size_t outer, std::size_t length,
                   std::size_t inner, std::size_t n, std::size_t m, std::size_t rows,
                   std::size_t columns, Bytes mask, unsigned threads, const MaybeIsa& isa) {
  const Weights checked = checked_weights(weights, dtype, rows, columns);
  if (checked_count(checked_count(outer, length), inner) != checked.count()) {
    throw py::value_error("outer * length * inner must be rows * columns");
  }
  if (m < 1 || n > m || m > std::numeric_limits<std::size_t>::max() / 64) {
    throw py::value_error("n must be from 0 to m, and m at least 1");
  }
  std::uint8_t* bits = checked_mask(mask, rows, columns);
  const Kernels& kernels = table(isa);
  checked_threads(threads);
  const py::gil_scoped_release unlocked;
  nm_mask(kernels, checked, {outer, length, inner}, n, m, bits, threads);
}

void bound_smallest_mask(const py::array& weights, Dtype dtype, std::size_t populations,
                         std::size_t pruned, std::size_t rows, std::size_t columns, Bytes mask,
                         unsigned threads, const MaybeIsa& isa) {
  const Weights checked = checked_weights(weights, dtype, rows, columns);
  if (populations < 1 || checked.count() % populations != 0 ||
      pruned > checked.count() / populations) {
    throw py::value_error("populations must divide the weights, and pruned fit into one");
  }
  std::uint8_t* bits = checked_mask(mask, rows, columns);
  const Kernels& kernels = table(isa);
  checked_threads(threads);
  const py::gil_scoped_release unlocked;
  smallest_mask(kernels, checked, populations, pruned, bits, threads);
}

std::size_t bound_above_mask(const py::array& weights, Dtype dtype, std::uint64_t key,
                             std::size_t rows, std::size_t columns, Bytes mask, unsigned threads,
                             const MaybeIsa& isa) {
  const Weights checked = checked_weights(weights, dtype, rows, columns);
  std::uint8_t* bits = checked_mask(mask, rows, columns);
  const Kernels& kernels = table(isa);
  checked_threads(threads);
  const py::gil_scoped_release unlocked;
  return above_mask(kernels, checked, key, bits, threads);
}

void bound_block_mask(const py::array& weights, Dtype dtype, const std::vector<std::size_t>& shape,
                      const std::vector<std::size_t>& tile, Norm norm, std::size_t pruned,
                      Bytes mask, unsigned threads, const MaybeIsa& isa) {
  if (shape.empty() || shape.size() != tile.size()) {
    throw py::value_error("shape and tile must have the same length, at least 1");
  }
  std::size_t rows = 1, tiles = 1;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (tile[i] < 1) throw py::value_error("tile extents must be at least 1");
    if (i + 1 < shape.size()) rows = checked_count(rows, shape[i]);
    tiles = checked_count(tiles, shape[i] / tile[i] + (shape[i] % tile[i] != 0));
  }
  if (pruned > tiles) throw py::value_error("pruned must be at most the number of tiles");
  const Weights checked = checked_weights(weights, dtype, rows, shape.back());
  std::uint8_t* bits = checked_mask(mask, rows, shape.back());
  const Kernels& kernels = table(isa);
  checked_threads(threads);
  const py::gil_scoped_release unlocked;
  block_mask(kernels, checked, shape, tile, norm, pruned, bits, threads);
}

}  // namespace

void bind_masks(py::module_& module) {
  module.def("nm_mask", &bound_nm_mask, "weights"_a, "dtype"_a, "outer"_a, "length"_a, "inner"_a,
             "n"_a, "m"_a, "rows"_a, "columns"_a, "mask"_a.noconvert(), "threads"_a,
             "isa"_a = py::none());
  module.def("smallest_mask", &bound_smallest_mask, "weights"_a, "dtype"_a, "populations"_a,
             "pruned"_a, "rows"_a, "columns"_a, "mask"_a.noconvert(), "threads"_a,
             "isa"_a = py::none());
  module.def("above_mask", &bound_above_mask, "weights"_a, "dtype"_a, "key"_a, "rows"_a,
             "columns"_a, "mask"_a.noconvert(), "threads"_a, "isa"_a = py::none());
  module.def("block_mask", &bound_block_mask, "weights"_a, "dtype"_a, "shape"_a, "tile"_a, "norm"_a,
             "pruned"_a, "mask"_a.noconvert(), "threads"_a, "isa"_a = py::none());
}

}  // namespace prunepack
