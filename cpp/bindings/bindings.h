// What the parts of the Python module share: how arguments are checked.
//
// Messages meant for people are raised in python/prunepack. What is thrown here guards memory, and
// means a bug in that layer.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <optional>
#include <string>

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

void bind_library(py::module_& module);
void bind_masks(py::module_& module);
void bind_pack(py::module_& module);
void bind_describe(py::module_& module);
void bind_dlpack(py::module_& module);
void bind_linear(py::module_& module);

}  // namespace prunepack
