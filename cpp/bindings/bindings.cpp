#include "bindings.h"

#include <limits>

#include "prunepack/threads.h"

namespace prunepack {
namespace {

void check_array(const py::array& array, std::size_t count, std::size_t element_bytes,
                 const char* argument) {
  const bool aligned =
      (array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0 || array.size() == 0;
  const bool contiguous = (array.flags() & py::array::c_style) != 0;
  if (static_cast<std::size_t>(array.size()) != count ||
      static_cast<std::size_t>(array.itemsize()) != element_bytes || !aligned || !contiguous) {
    throw py::value_error(std::string(argument) + " must be a C-contiguous, aligned array of " +
                          std::to_string(count) + " elements of " + std::to_string(element_bytes) +
                          " bytes");
  }
}

std::vector<std::string> isas() {
  std::vector<std::string> names;
  for (const Isa isa : kAllIsas) {
    if (kernels_for(isa) != nullptr) names.emplace_back(name(isa));
  }
  return names;
}

}  // namespace

const Kernels& table(const std::optional<std::string>& isa) {
  if (!isa) return kernels();
  for (const Isa candidate : kAllIsas) {
    if (*isa != name(candidate)) continue;
    if (const Kernels* found = kernels_for(candidate)) return *found;
  }
  throw py::value_error("isa '" + *isa + "' cannot run here");
}

unsigned checked_threads(unsigned threads) {
  if (threads < 1 || threads > kMostThreads) {
    throw py::value_error("threads must be from 1 to " + std::to_string(kMostThreads));
  }
  return threads;
}

const void* readable(const py::array& array, std::size_t count, std::size_t element_bytes,
                     const char* argument) {
  check_array(array, count, element_bytes, argument);
  return array.data();
}

void* writable(py::array& array, std::size_t count, std::size_t element_bytes,
               const char* argument) {
  check_array(array, count, element_bytes, argument);
  return array.mutable_data();  // throws if the array is read-only
}

std::size_t checked_count(std::size_t rows, std::size_t columns) {
  constexpr std::size_t most = std::numeric_limits<std::size_t>::max() / 64;
  if (columns > most || (columns > 0 && rows > most / columns) || rows > most) {
    throw py::value_error("rows * columns is too large");
  }
  return rows * columns;
}

Weights checked_weights(const py::array& array, Dtype dtype, std::size_t rows,
                        std::size_t columns) {
  return {readable(array, checked_count(rows, columns), width(dtype), "weights"), dtype, rows,
          columns};
}

std::uint8_t* checked_mask(Bytes& mask, std::size_t rows, std::size_t columns) {
  return static_cast<std::uint8_t*>(writable(mask, rows * row_bytes(columns), 1, "mask"));
}

const std::uint8_t* checked_mask(const Bytes& mask, std::size_t rows, std::size_t columns) {
  return static_cast<const std::uint8_t*>(readable(mask, rows * row_bytes(columns), 1, "mask"));
}

void bind_library(py::module_& module) {
  module.def("isa", [] { return std::string(name(kernels().isa)); });
  module.def("isas", &isas);
  module.def("default_threads", &default_threads);
}

}  // namespace prunepack
