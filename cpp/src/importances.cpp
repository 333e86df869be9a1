// sum_of_squares and importances: what weights of several tensors are ranked by.
#include <vector>

#include "chunks.h"
#include "float_mode.h"
#include "kernels/value.h"
#include "prunepack/describe.h"

namespace prunepack {
namespace {

constexpr std::size_t kSummedAlone = 4096;

template <class Bits, Dtype dtype>
double magnitude_of(std::uint64_t key) {
  const auto bits = static_cast<Bits>(key);
  return magnitude<dtype>(&bits, 0);
}

// The key of int8 -128, 128, is also its bits: the magnitude of a key is that of the same bits.
template <Dtype dtype>
double magnitude_of_key(std::uint64_t key) {
  if constexpr (width(dtype) == 1) return magnitude_of<std::uint8_t, dtype>(key);
  if constexpr (width(dtype) == 2) return magnitude_of<std::uint16_t, dtype>(key);
  if constexpr (width(dtype) == 4) return magnitude_of<std::uint32_t, dtype>(key);
  return magnitude_of<std::uint64_t, dtype>(key);
}

constexpr PerDtype<double (*)(std::uint64_t)> kMagnitudeOfKey =
    PRUNEPACK_PER_VALUE(magnitude_of_key);

std::uint64_t bits_of(double value) {
  std::uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return value != value ? kNan : bits;
}

}  // namespace

double sum_of_squares(const Kernels& kernels, const void* weights, Dtype dtype, std::size_t count,
                      unsigned threads) {
  const auto* data = static_cast<const std::uint8_t*>(weights);
  const std::size_t bytes = width(dtype), whole = count / kSummedAlone;
  std::vector<double> sums(whole + 1);
  for_chunks(count, bytes, kSummedAlone, threads, [&](std::size_t first, std::size_t here) {
    const DefaultFloatMode mode;
    const std::size_t tiles = here / kSummedAlone, rest = here % kSummedAlone;
    double* to = sums.data() + first / kSummedAlone;
    const TileNorms norms = (*kernels.tile_norms)[dtype];
    norms(data + first * bytes, tiles, kSummedAlone, Norm::l2, to);
    if (rest > 0) norms(data + (first + here - rest) * bytes, 1, rest, Norm::l2, to + tiles);
  });
  const DefaultFloatMode mode;
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

void importances(Dtype dtype, const std::uint64_t* keys, std::size_t count, double norm,
                 std::uint64_t* found) {
  const DefaultFloatMode mode;
  const auto magnitude_of_a_key = kMagnitudeOfKey[dtype];
  for (std::size_t i = 0; i < count; ++i) {
    const double size = magnitude_of_a_key(keys[i]);
    found[i] = bits_of(norm == 1 || size == 0 ? size : size / norm);
  }
}

}  // namespace prunepack
