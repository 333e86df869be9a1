// n:m masks of groups that lie one after the other, by the way that suits their size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "prunepack/kernels.h"

namespace prunepack {

struct NmPattern {
  std::size_t n, m;

  // What a group of only `size` weights loses: it stands for m, the missing ones pruned first.
  std::size_t pruned_of(std::size_t size) const { return n > m - size ? n - (m - size) : 0; }
};

// May remember what it saw, so each thread has its own.
class NmGroups {
 public:
  virtual ~NmGroups() = default;

  // Writes row_bytes(groups * m) bytes.
  virtual void write(const std::uint8_t* weights, std::size_t groups, std::uint8_t* bits) = 0;
};

std::unique_ptr<NmGroups> nm_groups(const Kernels& kernels, Dtype dtype, NmPattern pattern);

}  // namespace prunepack
