// Where the threshold of a selection probably is, from a sample of the population.
#pragma once

#include <cstddef>
#include <cstdint>

#include "population.h"

namespace prunepack {

// A range of keys, both ends included.
struct KeyRange {
  std::uint64_t low;
  std::uint64_t high;
};

struct Guess {
  KeyRange range;
  double part;  // of the weights, that are probably inside
};

// A part of `possible` that holds the key of the weight of rank `pruned` (counting from 0, smallest
// first) almost certainly, and few other weights; or a single key, if many weights share it.
// Another `attempt` takes another sample.
Guess likely_range(const Population& population, std::size_t pruned, KeyRange possible,
                   unsigned attempt);

// The largest key a weight of `dtype` can have.
std::uint64_t max_key(Dtype dtype);

}  // namespace prunepack
