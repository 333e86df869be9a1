// The Python module: a table of contents.
#include "bindings.h"

PYBIND11_MODULE(_core, module, py::mod_gil_not_used()) {
  prunepack::bind_library(module);
  prunepack::bind_masks(module);
  prunepack::bind_pack(module);
  prunepack::bind_describe(module);
  prunepack::bind_linear(module);
  prunepack::bind_dlpack(module);
}
