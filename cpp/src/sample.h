// Where the cut of a selection probably is, from a sample of the population.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "population.h"
#include "prunepack/kernels.h"

namespace prunepack {

// A range of keys, both ends included.
struct KeyRange {
  std::uint64_t low;
  std::uint64_t high;
};

// How many of the weights before each place are probably above a key, and how many have it.
class Outline {
 public:
  Outline() = default;  // where nothing is known
  // `above` and `tied` are of stretches of equal length that make up the `size` weights.
  Outline(double size, const std::vector<double>& above, const std::vector<double>& tied);

  double above_between(std::size_t first, std::size_t end) const {
    return before(above_, end) - before(above_, first);
  }
  double tied_between(std::size_t first, std::size_t end) const {
    return before(tied_, end) - before(tied_, first);
  }
  // The place between two others that has so many tied between itself and the second of them; that
  // one itself where nothing is known.
  std::size_t with_tied_after(double tied, std::size_t first, std::size_t end) const;

 private:
  double before(const std::vector<double>& sums, std::size_t place) const;

  double stretch_ = 1;
  std::vector<double> above_, tied_;  // before each stretch, and before the end
};

struct Guess {
  KeyRange range;     // holds the key of the cut almost certainly, and few other weights
  KeyRange listed;    // the same without an end that very many weights share
  double part;        // of the weights, that are probably in `listed`
  std::uint64_t key;  // of the cut, most probably
  Outline outline;    // of what that key divides
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
