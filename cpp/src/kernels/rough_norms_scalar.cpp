// rough_norms, scalar: the definition the other ISAs are tested against.
#include "tables.h"
#include "value.h"

namespace prunepack::scalar {
namespace {

float with_term(float norm_so_far, float x, Norm norm) noexcept {
  if (norm == Norm::max) return x > norm_so_far ? x : norm_so_far;
  const float term = norm == Norm::l2 ? x * x : x;
  return norm_so_far + term;
}

template <Dtype dtype>
void rough_norms_of(const void* weights, std::size_t stride, std::size_t size, std::size_t columns,
                    Norm norm, const void*, float* norms) noexcept {
  for (std::size_t c = 0; c < columns; ++c) {
    float found = 0;
    bool has_nan = false;
    for (std::size_t e = 0; e < size; ++e) {
      const auto x = static_cast<float>(magnitude<dtype>(weights, e * stride + c));
      has_nan |= x != x;
      found = with_term(found, x, norm);
    }
    if (has_nan) {
      std::memcpy(norms + c, &kRoughNan, sizeof kRoughNan);
    } else {
      norms[c] = found;
    }
  }
}

}  // namespace

const PerDtype<RoughNorms> rough_norms = PRUNEPACK_PER_VALUE(rough_norms_of);

}  // namespace prunepack::scalar
