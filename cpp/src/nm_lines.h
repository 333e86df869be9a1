// The n:m mask of one line of contiguous weights, remainder included.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "bits.h"
#include "nm_groups.h"
#include "prunepack/masks.h"

namespace prunepack {

class LineMask {
 public:
  LineMask(const Kernels& kernels, Dtype dtype, NmPattern pattern)
      : kernel_((*kernels.nm_mask)[dtype]),
        groups_(nm_groups(kernels, dtype, pattern)),
        element_bytes_(width(dtype)),
        pattern_(pattern),
        rest_(row_bytes(pattern.m)) {}

  // `bits` is the line's own.
  void write(const std::uint8_t* line, std::size_t length, std::uint8_t* bits) {
    const std::size_t groups = length / pattern_.m, whole = groups * pattern_.m;
    groups_->write(line, groups, bits);
    if (const std::size_t rest = length - whole; rest > 0) {
      kernel_(line + whole * element_bytes_, 1, pattern_.pruned_of(rest), rest, rest_.data());
      BitWriter(bits, whole).append(rest_.data(), 0, rest);
    }
  }

 private:
  NmMask kernel_;
  std::unique_ptr<NmGroups> groups_;
  std::size_t element_bytes_;
  NmPattern pattern_;
  std::vector<std::uint8_t> rest_;
};

}  // namespace prunepack
