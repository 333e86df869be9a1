// Linear layers: prunepack/linear.h for Python.
#include "prunepack/linear.h"

#include <functional>

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
  const std::uint8_t* const bits = checked_mask(mask, rows, columns);
  const auto kept = static_cast<std::size_t>(values.size());
  const void* in = readable(values, kept, width(dtype), "values");
  const Kernels& kernels = table(isa);
  // Others may write to the mask meanwhile, and a matrix is prepared in several passes over it.
  const std::vector<std::uint8_t> unchanged(bits, bits + rows * row_bytes(columns));
  if (kernels.count_bits(unchanged.data(), unchanged.size()) != kept) {
    throw py::value_error("the mask must have as many bits set as there are values");
  }
  const std::optional<Layout> wanted = layout_called(layout);
  checked_threads(threads);
  BoundMatrix matrix{.prepared = {}, .mask = mask, .values = values};
  const py::gil_scoped_release unlocked;
  matrix.prepared =
      prepare(kernels, {unchanged.data(), in, dtype, rows, columns}, wanted, activations, threads);
  matrix.prepared.packed.mask = bits;
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

// An array that the kernels can read where it lies. Its class and its dtype are told by their
// addresses, which nearly all such arrays have; the others take the longer way.
bool is_plain(py::handle object) {
  static const PyObject* const float32 = py::dtype::of<float>().release().ptr();
  if (Py_TYPE(object.ptr()) != py::detail::npy_api::get().PyArray_Type_) return false;
  constexpr int needed = int{py::array::c_style} | int{py::detail::npy_api::NPY_ARRAY_ALIGNED_};
  const auto* const array = py::detail::array_proxy(object.ptr());
  return array->descr == float32 && (array->flags & needed) == needed;
}

// A vector for each row of the matrix, or none.
bool is_plain_vector(py::handle object, std::size_t rows) {
  if (object.is_none()) return true;
  if (!is_plain(object)) return false;
  const auto* const array = py::detail::array_proxy(object.ptr());
  return array->nd == 1 && static_cast<std::size_t>(array->dimensions[0]) == rows;
}

float* floats_of(py::handle object) {
  if (object.is_none()) return nullptr;
  return reinterpret_cast<float*>(py::detail::array_proxy(object.ptr())->data);
}

bool overlap(const float* a, std::size_t count_a, const float* b, std::size_t count_b) {
  return b != nullptr && std::less<>()(a, b + count_b) && std::less<>()(b, a + count_a);
}

// Whether `out` is as an array made for x would be.
bool is_plain_result(py::handle out, py::handle x, std::size_t rows) {
  if (!is_plain(out)) return false;
  const auto* const from = py::detail::array_proxy(x.ptr());
  const auto* const to = py::detail::array_proxy(out.ptr());
  if ((to->flags & py::detail::npy_api::NPY_ARRAY_WRITEABLE_) == 0 || to->nd != from->nd) {
    return false;
  }
  return std::equal(from->dimensions, from->dimensions + from->nd - 1, to->dimensions) &&
         static_cast<std::size_t>(to->dimensions[to->nd - 1]) == rows;
}

std::optional<unsigned> plain_threads(py::handle threads) {
  if (threads.is_none()) return default_threads();
  if (!PyLong_CheckExact(threads.ptr())) return std::nullopt;
  const long count = PyLong_AsLong(threads.ptr());
  if (count == -1) PyErr_Clear();  // it may be too large
  if (count < 1 || count > static_cast<long>(kMostThreads)) return std::nullopt;
  return static_cast<unsigned>(count);
}

// The result, if every argument is as the kernels take it; else None. What a call costs beside its
// product is a third of what it costs to look at each argument in Python.
py::object bound_linear_as_is(const BoundMatrix& bound, py::handle x, py::handle scales,
                              py::handle bias, py::handle out, py::handle threads) {
  const Prepared& matrix = bound.prepared;
  if (!is_plain(x)) return py::none();
  const auto* const from = py::detail::array_proxy(x.ptr());
  if (from->nd < 1 || static_cast<std::size_t>(from->dimensions[from->nd - 1]) != matrix.columns ||
      !is_plain_vector(scales, matrix.rows) || !is_plain_vector(bias, matrix.rows)) {
    return py::none();
  }
  const std::optional<unsigned> count = plain_threads(threads);
  if (!count) return py::none();
  std::size_t batch = 1;
  for (int i = 0; i + 1 < from->nd; ++i) batch *= static_cast<std::size_t>(from->dimensions[i]);

  py::object result;
  if (out.is_none()) {
    std::vector<py::ssize_t> shape(from->dimensions, from->dimensions + from->nd);
    shape.back() = static_cast<py::ssize_t>(matrix.rows);
    result = py::array_t<float>(std::move(shape));
  } else if (is_plain_result(out, x, matrix.rows)) {
    result = py::reinterpret_borrow<py::object>(out);
  } else {
    return py::none();
  }
  const LinearArguments arguments{.x = floats_of(x),
                                  .batch = batch,
                                  .activations = Activations::float32,
                                  .scales = floats_of(scales),
                                  .bias = floats_of(bias),
                                  .y = floats_of(result)};
  for (const float* const vector : {arguments.scales, arguments.bias}) {
    if (overlap(arguments.y, batch * matrix.rows, vector, matrix.rows)) return py::none();
  }
  const py::gil_scoped_release unlocked;
  linear(kernels(), matrix, arguments, *count);
  return result;
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
  module.def("linear_as_is", &bound_linear_as_is, "matrix"_a, "x"_a, "scales"_a, "bias"_a, "out"_a,
             "threads"_a);
}

}  // namespace prunepack
