// What the rough norms of AVX2 and AVX-512 share: which of a kernel's ways a call takes. In an
// unnamed namespace; key.h says why.
#pragma once

#include <cstddef>
#include <cstdint>

#include "prunepack/kernels.h"

namespace prunepack {
namespace {

// float8_e4m3fn is read as a float16 of the same digits, whose exponent counts from elsewhere: all
// numbers are 256 times too small, and so every sum is, exactly, until it is done.
template <Dtype dtype>
constexpr float kUnit = dtype == Dtype::float8_e4m3fn ? 256 : 1;

// kernel.by<norm, size, fetches>(…), with the size of the tiles where it is worth while to know it,
// and 0 elsewhere.
template <Norm norm, class Kernel>
inline void rough_norms_in(const Kernel& kernel, const std::uint8_t* weights, std::size_t stride,
                           std::size_t size, std::size_t columns, const std::uint8_t* ahead,
                           float* norms) noexcept {
  if (ahead == nullptr) {
    return kernel.template by<norm, 0, false>(weights, stride, size, columns, weights, norms);
  }
  if (size == 4) {
    return kernel.template by<norm, 4, true>(weights, stride, size, columns, ahead, norms);
  }
  kernel.template by<norm, 0, true>(weights, stride, size, columns, ahead, norms);
}

// A kernel of the family, of `Kernel<dtype>`.
template <class Kernel>
inline void rough_norms_of(const void* weights, std::size_t stride, std::size_t size,
                           std::size_t columns, Norm norm, const void* ahead,
                           float* norms) noexcept {
  const auto* bytes = static_cast<const std::uint8_t*>(weights);
  const auto* next = static_cast<const std::uint8_t*>(ahead);
  switch (norm) {
    case Norm::l1:
      return rough_norms_in<Norm::l1>(Kernel{}, bytes, stride, size, columns, next, norms);
    case Norm::l2:
      return rough_norms_in<Norm::l2>(Kernel{}, bytes, stride, size, columns, next, norms);
    case Norm::max:
      return rough_norms_in<Norm::max>(Kernel{}, bytes, stride, size, columns, next, norms);
  }
}

}  // namespace
}  // namespace prunepack
