// Where the cut of a selection probably is, from a sample of the population.
#pragma once

#include <cstddef>
#include <cstdint>

#include "population.h"
#include "prunepack/kernels.h"

namespace prunepack {

// A range of keys, both ends included.
struct KeyRange {
  std::uint64_t low;
  std::uint64_t high;
};

// A place in the order of all weights, by key and then by position.
struct Cut {
  std::uint64_t key;
  std::size_t position;
};

struct Guess {
  KeyRange range;   // holds the key of the cut almost certainly, and few other weights
  KeyRange listed;  // the same without an end that very many weights share
  double part;      // of the weights, that are probably in `listed`
  Cut cut;          // the most probable one
  // Whether all keys of the range are so common that the cut is best looked for from place to
  // place, instead of from key to key.
  bool has_many_ties;
};

// What separates the `pruned` weights that come first from the others, as far as a sample tells,
// and inside what is `possible`. Another `attempt` takes another sample.
Guess likely_cut(const Kernels& kernels, const Population& population, std::size_t pruned,
                 KeyRange possible, unsigned attempt);

// The largest key a weight of `dtype` can have.
std::uint64_t max_key(Dtype dtype);

}  // namespace prunepack
