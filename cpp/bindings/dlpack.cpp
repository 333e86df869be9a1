// Tensors of other libraries, without a copy: the DLPack exchange protocol.
//
// NumPy reads DLPack itself, but neither bfloat16 nor float8; those are what weights are made of.
// The two structures below are the protocol's binary interface (dmlc/dlpack, dlpack.h, version 1).
#include <algorithm>
#include <memory>
#include <vector>

#include "bindings.h"

namespace prunepack {
namespace {

struct DlDevice {
  std::int32_t type, id;
};

struct DlTensor {
  void* data;
  DlDevice device;
  std::int32_t rank;
  std::uint8_t type_code, type_bits;
  std::uint16_t type_lanes;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; may be null for C-contiguous tensors
  std::uint64_t byte_offset;
};

struct DlManaged {
  DlTensor tensor;
  void* context;
  void (*deleter)(DlManaged*);
};

struct DlManagedVersioned {
  std::uint32_t major, minor;
  void* context;
  void (*deleter)(DlManagedVersioned*);
  std::uint64_t flags;
  DlTensor tensor;
};

constexpr std::uint64_t kReadOnly = 1;
constexpr std::int32_t kCpu = 1;

// NumPy's dtype for a (code, bits) pair; bfloat16 and float8 as void of the same width, because
// NumPy has no other name for them here: the caller views them as what `code` says.
py::dtype dtype_of(const DlTensor& tensor) {
  const std::string bytes = std::to_string(tensor.type_bits / 8);
  switch (tensor.type_code) {
    case 0:
      return py::dtype("i" + bytes);
    case 1:
      return py::dtype("u" + bytes);
    case 2:
      return py::dtype("f" + bytes);
    case 5:
      return py::dtype("c" + bytes);
    case 6:
      return py::dtype("?");
    default:
      return py::dtype("V" + bytes);
  }
}

// The array over a tensor's memory. `owner` frees the tensor when the array dies.
template <class Managed>
py::array array_over(Managed* managed, bool read_only) {
  const DlTensor& tensor = managed->tensor;
  const py::capsule owner(managed, [](void* pointer) {
    auto* dying = static_cast<Managed*>(pointer);
    if (dying->deleter != nullptr) dying->deleter(dying);
  });
  if (tensor.type_lanes != 1 || tensor.type_bits % 8 != 0 || tensor.rank < 0) {
    throw py::type_error("the tensor's elements must be whole bytes, one value each");
  }
  const py::dtype dtype = dtype_of(tensor);
  std::vector<py::ssize_t> shape(tensor.shape, tensor.shape + tensor.rank);
  std::vector<py::ssize_t> strides;
  for (std::int32_t i = 0; tensor.strides != nullptr && i < tensor.rank; ++i) {
    strides.push_back(tensor.strides[i] * dtype.itemsize());
  }
  if (tensor.data == nullptr && std::find(shape.begin(), shape.end(), 0) == shape.end()) {
    throw py::value_error("the tensor must have memory, got a null pointer");
  }
  // NumPy asks for an address even where there is nothing to see.
  static std::uint64_t nothing = 0;
  auto* data = tensor.data == nullptr
                   ? reinterpret_cast<std::uint8_t*>(&nothing)
                   : static_cast<std::uint8_t*>(tensor.data) + tensor.byte_offset;
  py::array array(dtype, std::move(shape), std::move(strides), data, owner);
  if (read_only) array.attr("setflags")("write"_a = false);
  return array;
}

// Takes the tensor out of its capsule, as the protocol asks: the capsule is renamed.
template <class Managed>
Managed* taken(const py::object& capsule, const char* name, const char* used_name) {
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), name));
  if (managed == nullptr || PyCapsule_SetName(capsule.ptr(), used_name) != 0) {
    throw py::error_already_set();
  }
  return managed;
}

// The array, and the protocol's type code, from what an object's __dlpack__ returned.
std::pair<py::array, int> from_dlpack(const py::object& capsule) {
  const auto on_cpu = [](const DlTensor& tensor) {
    if (tensor.device.type != kCpu) throw py::value_error("the tensor must be in CPU memory");
  };
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned") != 0) {
    auto* peek =
        static_cast<DlManagedVersioned*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor_versioned"));
    if (peek->major != 1) throw py::value_error("the tensor must use version 1 of DLPack");
    on_cpu(peek->tensor);
    auto* managed =
        taken<DlManagedVersioned>(capsule, "dltensor_versioned", "used_dltensor_versioned");
    const int code = managed->tensor.type_code;
    return {array_over(managed, (managed->flags & kReadOnly) != 0), code};
  }
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor") != 0) {
    on_cpu(static_cast<DlManaged*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"))->tensor);
    auto* managed = taken<DlManaged>(capsule, "dltensor", "used_dltensor");
    const int code = managed->tensor.type_code;
    return {array_over(managed, false), code};
  }
  throw py::type_error("__dlpack__ must return a capsule named 'dltensor'");
}

}  // namespace

void bind_dlpack(py::module_& module) { module.def("from_dlpack", &from_dlpack, "capsule"_a); }

}  // namespace prunepack
