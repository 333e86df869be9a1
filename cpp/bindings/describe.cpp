// What tensors and masks are like: prunepack/describe.h for Python.
#include "prunepack/describe.h"

#include "bindings.h"

namespace prunepack {
namespace {

using MaybeIsa = std::optional<std::string>;
using Counts = py::array_t<std::int64_t, py::array::c_style>;
using Keys = py::array_t<std::uint64_t, py::array::c_style>;

std::size_t size_of(const py::array& array) { return static_cast<std::size_t>(array.size()); }

void bound_key_histogram(const py::array& weights, Dtype dtype, std::uint64_t low, unsigned shift,
                         Counts counts, unsigned threads, const MaybeIsa& isa) {
  const std::size_t count = size_of(weights), places = size_of(counts);
  const void* in = readable(weights, count, width(dtype), "weights");
  if (places < 3 || places - 2 > kMostBins || shift >= 8 * width(dtype)) {
    throw py::value_error("counts must be of 1 to 65,536 bins and two, and shift within the key");
  }
  auto* to = static_cast<std::int64_t*>(writable(counts, places, sizeof(std::int64_t), "counts"));
  const Kernels& kernels = table(isa);
  checked_threads(threads);
  const py::gil_scoped_release unlocked;
  key_histogram(kernels, in, dtype, count, low, shift, places - 2, to, threads);
}

double bound_sum_of_squares(const py::array& weights, Dtype dtype, unsigned threads,
                            const MaybeIsa& isa) {
  const std::size_t count = size_of(weights);
  const void* in = readable(weights, count, width(dtype), "weights");
  const Kernels& kernels = table(isa);
  checked_threads(threads);
  const py::gil_scoped_release unlocked;
  return sum_of_squares(kernels, in, dtype, count, threads);
}

Keys bound_importances(Dtype dtype, const Keys& keys, double norm) {
  const std::size_t count = size_of(keys);
  const auto* in =
      static_cast<const std::uint64_t*>(readable(keys, count, sizeof(std::uint64_t), "keys"));
  Keys found(keys.size());
  std::uint64_t* out = found.mutable_data();
  const py::gil_scoped_release unlocked;
  importances(dtype, in, count, norm, out);
  return found;
}

py::tuple bound_mask_structure(const Bytes& mask, std::size_t width, Bytes columns,
                               unsigned threads, const MaybeIsa& isa) {
  if (mask.ndim() != 3 || static_cast<std::size_t>(mask.shape(2)) != row_bytes(width)) {
    throw py::value_error("mask must be 3-D, and its last axis the bytes of width bits");
  }
  const std::size_t size = size_of(mask), line = row_bytes(width);
  const auto height = static_cast<std::size_t>(mask.shape(0));
  const auto depth = static_cast<std::size_t>(mask.shape(1));
  const auto* bits = static_cast<const std::uint8_t*>(readable(mask, size, 1, "mask"));
  auto* to = static_cast<std::uint8_t*>(writable(columns, depth * line, 1, "columns"));
  const Kernels& kernels = table(isa);
  checked_threads(threads);
  MaskStructure found;
  {
    const py::gil_scoped_release unlocked;
    found = mask_structure(kernels, bits, height, depth, width, to, threads);
  }
  return py::make_tuple(found.kept, found.most_kept, found.live, found.live_lines);
}

}  // namespace

void bind_describe(py::module_& module) {
  module.def("key_histogram", &bound_key_histogram, "weights"_a, "dtype"_a, "low"_a, "shift"_a,
             "counts"_a.noconvert(), "threads"_a, "isa"_a = py::none());
  module.def("sum_of_squares", &bound_sum_of_squares, "weights"_a, "dtype"_a, "threads"_a,
             "isa"_a = py::none());
  module.def("importances", &bound_importances, "dtype"_a, "keys"_a.noconvert(), "norm"_a);
  module.def("mask_structure", &bound_mask_structure, "mask"_a.noconvert(), "width"_a,
             "columns"_a.noconvert(), "threads"_a, "isa"_a = py::none());
}

}  // namespace prunepack
