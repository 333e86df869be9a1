// Numbers to be ranked against each other: stored, or computed when they are looked at.
#pragma once

#include <cstddef>
#include <cstdint>

#include "prunepack/dtype.h"

namespace prunepack {

class Population {
 public:
  Population(Dtype dtype, std::size_t count) : dtype_(dtype), count_(count) {}
  Population(const Population&) = delete;
  Population& operator=(const Population&) = delete;
  virtual ~Population() = default;

  Dtype dtype() const { return dtype_; }
  std::size_t count() const { return count_; }
  virtual bool is_stored() const = 0;

  // The numbers [first, first + count): where they are stored, or in `scratch`, which has room for
  // them if they are not. Called by several threads at once.
  virtual const void* read(std::size_t first, std::size_t count, void* scratch) const = 0;

  // The same for one who will read what follows next.
  virtual const void* read_in_order(std::size_t first, std::size_t count, void* scratch) const {
    return read(first, count, scratch);
  }

 private:
  Dtype dtype_;
  std::size_t count_;
};

class StoredWeights final : public Population {
 public:
  StoredWeights(const void* data, Dtype dtype, std::size_t count)
      : Population(dtype, count), data_(static_cast<const std::uint8_t*>(data)) {}
  bool is_stored() const override { return true; }
  const void* read(std::size_t first, std::size_t, void*) const override {
    return data_ + first * width(dtype());
  }

 private:
  const std::uint8_t* data_;
};

}  // namespace prunepack
