// Packing: prunepack/pack.h for Python. Results are written in place.
#include "prunepack/pack.h"

#include "bindings.h"

namespace prunepack {
namespace {

using MaybeIsa = std::optional<std::string>;

std::size_t bound_pack(const py::array& weights, Dtype dtype, std::size_t rows, std::size_t columns,
                       const std::optional<Bytes>& given, Bytes mask, py::array values,
                       unsigned threads, const MaybeIsa& isa) {
  const Weights checked = checked_weights(weights, dtype, rows, columns);
  const std::uint8_t* wanted = given ? checked_mask(*given, rows, columns) : nullptr;
  std::uint8_t* bits = checked_mask(mask, rows, columns);
  void* out = writable(values, checked.count(), width(dtype), "values");
  const Kernels& kernels = table(isa);
  checked_threads(threads);
  const py::gil_scoped_release unlocked;
  return pack(kernels, checked, wanted, bits, out, threads);
}

void bound_unpack(const Bytes& mask, const py::array& values, Dtype dtype, std::size_t rows,
                  std::size_t columns, py::array weights, unsigned threads, const MaybeIsa& isa) {
  void* out = writable(weights, checked_count(rows, columns), width(dtype), "weights");
  const std::uint8_t* bits = checked_mask(mask, rows, columns);
  const auto kept = static_cast<std::size_t>(values.size());
  const void* in = readable(values, kept, width(dtype), "values");
  const Kernels& kernels = table(isa);
  if (kernels.count_bits(bits, rows * row_bytes(columns)) != kept) {
    throw py::value_error("the mask must have as many bits set as there are values");
  }
  checked_threads(threads);
  const py::gil_scoped_release unlocked;
  unpack(kernels, bits, in, kept, dtype, rows, columns, out, threads);
}

void bound_apply_mask(const py::array& weights, Dtype dtype, std::size_t rows, std::size_t columns,
                      const Bytes& mask, py::array out, unsigned threads, const MaybeIsa& isa) {
  const Weights checked = checked_weights(weights, dtype, rows, columns);
  const std::uint8_t* bits = checked_mask(mask, rows, columns);
  void* to = writable(out, checked.count(), width(dtype), "out");
  const Kernels& kernels = table(isa);
  checked_threads(threads);
  const py::gil_scoped_release unlocked;
  apply_mask(kernels, checked, bits, to, threads);
}

py::array_t<std::int64_t> bound_count_rows(const Bytes& mask, const MaybeIsa& isa) {
  if (mask.ndim() != 2) throw py::value_error("mask must be 2-D");
  const auto rows = static_cast<std::size_t>(mask.shape(0));
  const auto bytes = static_cast<std::size_t>(mask.shape(1));
  const auto* bits = static_cast<const std::uint8_t*>(readable(mask, rows * bytes, 1, "mask"));
  py::array_t<std::int64_t> counts(mask.shape(0));
  std::int64_t* out = counts.mutable_data();
  const Kernels& kernels = table(isa);
  const py::gil_scoped_release unlocked;
  count_rows(kernels, bits, rows, bytes, out);
  return counts;
}

}  // namespace

void bind_pack(py::module_& module) {
  module.def("pack", &bound_pack, "weights"_a, "dtype"_a, "rows"_a, "columns"_a,
             "given"_a.noconvert().none(true), "mask"_a.noconvert(), "values"_a.noconvert(),
             "threads"_a, "isa"_a = py::none());
  module.def("unpack", &bound_unpack, "mask"_a.noconvert(), "values"_a, "dtype"_a, "rows"_a,
             "columns"_a, "weights"_a.noconvert(), "threads"_a, "isa"_a = py::none());
  module.def("apply_mask", &bound_apply_mask, "weights"_a, "dtype"_a, "rows"_a, "columns"_a,
             "mask"_a.noconvert(), "out"_a.noconvert(), "threads"_a, "isa"_a = py::none());
  module.def("count_rows", &bound_count_rows, "mask"_a.noconvert(), py::kw_only(),
             "isa"_a = py::none());
}

}  // namespace prunepack
