// Where the threshold of a selection probably is, from a sample of the weights.
#pragma once

#include <cstddef>
#include <cstdint>

#include "prunepack/masks.h"

namespace prunepack {

// A range of keys, both ends included.
struct KeyRange {
  std::uint64_t low;
  std::uint64_t high;
};

// A part of `possible` that holds the key of the weight of rank `pruned` (counting from 0, smallest
// first) almost certainly, and few other weights; or a single key, if many weights share it.
// Another `attempt` takes another sample.
KeyRange likely_range(const std::uint8_t* weights, Dtype dtype, std::size_t count,
                      std::size_t pruned, KeyRange possible, unsigned attempt);

// The largest key a weight of `dtype` can have.
std::uint64_t max_key(Dtype dtype);

}  // namespace prunepack
