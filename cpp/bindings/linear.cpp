// Linear layers: prunepack/linear.h for Python.
#include "prunepack/linear.h"

#include "bindings.h"
#include "prunepack/threads.h"

namespace prunepack {
namespace {

using Floats = py::array_t<float, py::array::c_style>;

// A matrix with the arrays that must stay as long as it does. (Not by py::keep_alive, for which
// pybind11 3.1 takes a call with unfit arguments for one that has returned something.)
struct BoundMatrix {
  Prepared prepared;
  Bytes mask;
  py::array values;
};

constexpr const char* kLayoutNames[kLayouts] = {"dense",  "bitmask", "nm4", "nm16",
                                                "blocks", "index",   "csr"};

std::optional<Layout> layout_called(const std::optional<std::string>& wanted) {
  if (!wanted) return std::nullopt;
  for (std::size_t i = 0; i < kLayouts; ++i) {
    if (*wanted == kLayoutNames[i]) return static_cast<Layout>(i);
  }
  throw py::value_error("there is no layout '" + *wanted + "'");
}

BoundMatrix bound_prepare(const Bytes& mask, const py::array& values, Dtype dtype, std::size_t rows,
                          std::size_t columns, const std::optional<std::string>& layout,
                          Activations activations, unsigned threads,
                          const std::optional<std::string>& isa) {
  checked_count(rows, columns);
  const std::uint8_t* bits = checked_mask(mask, rows, columns);
  const auto kept = static_cast<std::size_t>(values.size());
  const void* in = readable(values, kept, width(dtype), "values");
  const Kernels& kernels = table(isa);
  if (kernels.count_bits(bits, rows * row_bytes(columns)) != kept) {
    throw py::value_error("the mask must have as many bits set as there are values");
  }
  const std::optional<Layout> wanted = layout_called(layout);
  checked_threads(threads);
  BoundMatrix matrix{.prepared = {}, .mask = mask, .values = values};
  const py::gil_scoped_release unlocked;
  matrix.prepared =
      prepare(kernels, {bits, in, dtype, rows, columns}, wanted, activations, threads);
  return matrix;
}

const float* optional_floats(const std::optional<Floats>& array, std::size_t count,
                             const char* argument) {
  if (!array) return nullptr;
  return static_cast<const float*>(readable(*array, count, sizeof(float), argument));
}

void bound_linear(const BoundMatrix& bound, const py::array& x, Dtype x_dtype,
                  Activations activations, const std::optional<Floats>& scales,
                  const std::optional<Floats>& bias, Floats out, unsigned threads, bool openmp,
                  const std::optional<std::string>& isa) {
  const Prepared& matrix = bound.prepared;
  if (x.ndim() != 2 || static_cast<std::size_t>(x.shape(1)) != matrix.columns) {
    throw py::value_error("x must be 2-D with as many columns as the matrix");
  }
  if (x_dtype != Dtype::float32 && x_dtype != Dtype::float16 && x_dtype != Dtype::bfloat16) {
    throw py::value_error("x must be float32, float16 or bfloat16");
  }
  const auto batch = static_cast<std::size_t>(x.shape(0));
  const LinearArguments arguments{
      .x = readable(x, batch * matrix.columns, width(x_dtype), "x"),
      .batch = batch,
      .activations = activations,
      .scales = optional_floats(scales, matrix.rows, "scales"),
      .bias = optional_floats(bias, matrix.rows, "bias"),
      .y = static_cast<float*>(writable(out, batch * matrix.rows, sizeof(float), "out")),
      .x_dtype = x_dtype};
  const Kernels& kernels = table(isa);
  checked_threads(threads);
  const py::gil_scoped_release unlocked;
  const OpenMpThreads helpers(openmp);
  linear(kernels, matrix, arguments, threads);
}

constexpr const char* kMadeByPrepare = "Prepared must be made by prepare";

PyObject* refuse_new(PyTypeObject*, PyObject*, PyObject*) {
  PyErr_SetString(PyExc_TypeError, kMadeByPrepare);
  return nullptr;
}

// What pybind11's `__new__` makes has no matrix in it, only memory that was never written. The base
// class has another one, which asks for the same in the slot.
void forbid_new(py::class_<BoundMatrix>& prepared) {
  prepared.def_static("__new__", [](const py::args&, const py::kwargs&) -> py::object {
    throw py::type_error(kMadeByPrepare);
  });
  reinterpret_cast<PyTypeObject*>(prepared.ptr())->tp_new = &refuse_new;
}

}  // namespace

void bind_linear(py::module_& module) {
  // The metaclass is what a type stub can say.
  const auto metaclass = py::metaclass(reinterpret_cast<PyObject*>(&PyType_Type));
  py::class_<BoundMatrix> prepared(module, "Prepared", py::is_final(), metaclass);
  prepared
      .def_property_readonly("layout",
                             [](const BoundMatrix& self) {
                               return kLayoutNames[static_cast<std::size_t>(self.prepared.layout)];
                             })
      .def_property_readonly("kept", [](const BoundMatrix& self) { return self.prepared.kept; })
      .def_property_readonly("breadth",
                             [](const BoundMatrix& self) { return self.prepared.breadth; })
      .def_property_readonly("nbytes",
                             [](const BoundMatrix& self) { return self.prepared.nbytes(); });
  forbid_new(prepared);
  module.def("prepare", &bound_prepare, "mask"_a.noconvert(), "values"_a, "dtype"_a, "rows"_a,
             "columns"_a, "layout"_a.none(true), "activations"_a, "threads"_a,
             "isa"_a = py::none());
  module.def("linear", &bound_linear, "matrix"_a, "x"_a, "x_dtype"_a, "activations"_a,
             "scales"_a.noconvert().none(true), "bias"_a.noconvert().none(true),
             "out"_a.noconvert(), "threads"_a, "openmp"_a = false, "isa"_a = py::none());
}

}  // namespace prunepack
