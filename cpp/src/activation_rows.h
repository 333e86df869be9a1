// Rows of activations as float32, whatever they are.
#pragma once

#include <cstddef>
#include <cstdint>

#include "prunepack/kernels.h"
#include "prunepack/linear.h"
#include "prunepack/lists.h"
#include "scratch.h"

namespace prunepack {

class ActivationRows {
 public:
  ActivationRows(const Kernels& kernels, const LinearArguments& arguments, std::size_t columns)
      : x_(static_cast<const std::uint8_t*>(arguments.x)),
        bytes_(width(arguments.x_dtype)),
        columns_(columns),
        widen_(kernels.lists->values[arguments.x_dtype]) {
    if (widen_ != nullptr) widened_ = Scratch<float>(columns);
  }

  bool are_float32() const { return widen_ == nullptr; }

  // A row as it lies in memory.
  const std::uint8_t* bits(std::size_t row) const { return x_ + row * columns_ * bytes_; }

  // Some columns of a row, until the next call.
  const float* floats(std::size_t row, std::size_t first, std::size_t count) {
    const std::uint8_t* const from = bits(row) + first * bytes_;
    if (widen_ == nullptr) return reinterpret_cast<const float*>(from);
    widen_(from, count, widened_.get());
    return widened_.get();
  }

 private:
  const std::uint8_t* x_;
  std::size_t bytes_, columns_;
  ListValues widen_;
  Scratch<float> widened_;
};

}  // namespace prunepack
