// tile_norms and column_norms, scalar: the definition the other ISAs are tested against.
#include "tables.h"
#include "value.h"

namespace prunepack::scalar {
namespace {

// What one more element, or one more lane, does to a lane.
double add(Norm norm, double lane, double term) noexcept {
  if (norm == Norm::max) return term > lane || term != term ? term : lane;
  return lane + term;
}

template <Dtype dtype>
double norm_of(const void* weights, std::size_t first, std::size_t stride, std::size_t size,
               Norm norm) noexcept {
  double lanes[8] = {};
  bool has_nan = false;
  for (std::size_t e = 0; e < size; ++e) {
    const double x = magnitude<dtype>(weights, first + e * stride);
    has_nan |= x != x;
    lanes[e % 8] = add(norm, lanes[e % 8], norm == Norm::l2 ? x * x : x);
  }
  if (has_nan) return from_bits(kNan);
  for (std::size_t half = 4; half > 0; half /= 2) {
    for (std::size_t j = 0; j < half; ++j) lanes[j] = add(norm, lanes[j], lanes[j + half]);
  }
  return lanes[0];
}

template <Dtype dtype>
void tile_norms_of(const void* weights, std::size_t tiles, std::size_t size, Norm norm,
                   double* norms) noexcept {
  for (std::size_t t = 0; t < tiles; ++t) {
    norms[t] = norm_of<dtype>(weights, t * size, 1, size, norm);
  }
}

template <Dtype dtype>
void column_norms_of(const void* weights, std::size_t stride, std::size_t size, std::size_t columns,
                     Norm norm, double* norms) noexcept {
  for (std::size_t c = 0; c < columns; ++c) {
    norms[c] = norm_of<dtype>(weights, c, stride, size, norm);
  }
}

}  // namespace

const PerDtype<TileNorms> tile_norms = PRUNEPACK_PER_VALUE(tile_norms_of);
const PerDtype<ColumnNorms> column_norms = PRUNEPACK_PER_VALUE(column_norms_of);

}  // namespace prunepack::scalar
