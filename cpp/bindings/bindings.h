// What the parts of the Python module share: how arguments are checked.
//
// Messages meant for people are raised in python/prunepack. What is thrown here guards memory, and
// means a bug in that layer.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>

#include "prunepack/linear.h"
#include "prunepack/masks.h"

namespace py = pybind11;
using namespace py::literals;

namespace prunepack {

using Bytes = py::array_t<std::uint8_t, py::array::c_style>;

// The kernels called `isa`, or those in use.
const Kernels& table(const std::optional<std::string>& isa);

unsigned checked_threads(unsigned threads);

// The memory of a C-contiguous, aligned array of `count` elements of `element_bytes` bytes each.
const void* readable(const py::array& array, std::size_t count, std::size_t element_bytes,
                     const char* argument);
void* writable(py::array& array, std::size_t count, std::size_t element_bytes,
               const char* argument);

// rows * columns, or an error if that or its masks cannot be an array's size.
std::size_t checked_count(std::size_t rows, std::size_t columns);

Weights checked_weights(const py::array& array, Dtype dtype, std::size_t rows, std::size_t columns);
std::uint8_t* checked_mask(Bytes& mask, std::size_t rows, std::size_t columns);
const std::uint8_t* checked_mask(const Bytes& mask, std::size_t rows, std::size_t columns);

// Arguments are passed by place: with one keyword in a call, pybind11 looks for all others too.
void bind_library(py::module_& module);
void bind_masks(py::module_& module);
void bind_pack(py::module_& module);
void bind_describe(py::module_& module);
void bind_dlpack(py::module_& module);
void bind_linear(py::module_& module);

// What Python calls the values of an enum, in their order. They are passed as words, because to
// read a member of a Python enum takes longer than to prune a small tensor.
template <class Enum>
struct Words;

template <>
struct Words<Dtype> {
  static constexpr std::string_view all[] = {"float8_e4m3fn", "float8_e5m2", "int8",    "uint8",
                                             "float16",       "bfloat16",    "float32", "float64"};
};

template <>
struct Words<Activations> {
  static constexpr std::string_view all[] = {"float32", "bfloat16", "int8"};
};

template <>
struct Words<Norm> {
  static constexpr std::string_view all[] = {"l1", "l2", "max"};
};

template <class Enum>
struct WordCaster {
  PYBIND11_TYPE_CASTER(Enum, py::detail::const_name("str"));

  bool load(py::handle source, bool) {
    py::detail::make_caster<std::string_view> word;
    if (!word.load(source, false)) return false;
    const auto& all = Words<Enum>::all;
    const auto* const found = std::find(std::begin(all), std::end(all), std::string_view(word));
    if (found == std::end(all)) {
      throw py::value_error("there is no '" + std::string(std::string_view(word)) + "'");
    }
    value = static_cast<Enum>(found - std::begin(all));
    return true;
  }
};

}  // namespace prunepack

template <>
struct pybind11::detail::type_caster<prunepack::Dtype> : prunepack::WordCaster<prunepack::Dtype> {};
template <>
struct pybind11::detail::type_caster<prunepack::Activations>
    : prunepack::WordCaster<prunepack::Activations> {};
template <>
struct pybind11::detail::type_caster<prunepack::Norm> : prunepack::WordCaster<prunepack::Norm> {};
