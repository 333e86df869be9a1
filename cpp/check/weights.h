// Inputs: weights of every dtype in the distributions that tend to break selection, and masks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "prunepack/dtype.h"

namespace prunepack::check {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t bits() {  // SplitMix64
    state_ += 0x9e3779b97f4a7c15;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  std::size_t below(std::size_t bound) { return static_cast<std::size_t>(bits() % bound); }
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }  // [0, 1)

 private:
  std::uint64_t state_;
};

struct Distribution {
  const char* name;
  void (*fill)(Random& random, Dtype dtype, std::uint8_t* weights, std::size_t count);
};
// The ones that find most come first, for when there is time for some only.
extern const std::span<const Distribution> kDistributions;
const Distribution& distribution_called(std::string_view name);

struct MaskKind {
  const char* name;
  void (*fill)(Random& random, std::uint8_t* mask, std::size_t bytes);
};
extern const std::span<const MaskKind> kMaskKinds;

// The element's bits, and its key.
std::uint64_t key_at(Dtype dtype, const void* weights, std::size_t i);
std::uint64_t max_key(Dtype dtype);

}  // namespace prunepack::check
