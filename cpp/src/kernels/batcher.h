// Batcher's odd-even merge sort as a list of comparators, known at compile time.
// In an unnamed namespace; key.h says why.
//
// K. E. Batcher, "Sorting networks and their applications", AFIPS 1968; the loop is Knuth's
// Algorithm 5.2.2M (The Art of Computer Programming, volume 3).
#pragma once

#include <cstddef>

namespace prunepack {
namespace {

struct Comparator {
  std::size_t low, high;
};

// Calls visit(low, high) for each comparator of a network for `size` inputs, a power of two.
template <class Visit>
constexpr void for_comparators(std::size_t size, Visit visit) {
  for (std::size_t p = size / 2; p > 0; p /= 2) {
    std::size_t q = size / 2, r = 0, d = p;
    for (;;) {
      for (std::size_t i = 0; i + d < size; ++i) {
        if ((i & p) == r) visit(i, i + d);
      }
      if (q == p) break;
      d = q - p;
      q /= 2;
      r = p;
    }
  }
}

constexpr std::size_t comparator_count(std::size_t size) {
  std::size_t count = 0;
  for_comparators(size, [&](std::size_t, std::size_t) { ++count; });
  return count;
}

template <std::size_t size>
struct Network {
  static constexpr std::size_t kCount = comparator_count(size);
  Comparator comparators[kCount];

  constexpr Network() : comparators{} {
    std::size_t i = 0;
    for_comparators(size,
                    [&](std::size_t low, std::size_t high) { comparators[i++] = {low, high}; });
  }
};

}  // namespace
}  // namespace prunepack
