// Dot products of lists and one row of activations, scalar: the definition.
#include <cmath>

#include "prunepack/lists.h"
#include "tables.h"
#include "value.h"

namespace prunepack::scalar {
namespace {

template <Dtype dtype>
float number(const std::uint8_t* values, std::size_t i) noexcept {
  const bool negative = values[(i + 1) * width(dtype) - 1] >> 7 != 0;
  return static_cast<float>(std::copysign(magnitude<dtype>(values, i), negative ? -1.0 : 1.0));
}

template <Dtype dtype>
void dots(const Lists& lists, const float* x, float* sums) noexcept {
  const auto* const values = static_cast<const std::uint8_t*>(lists.values);
  for (std::size_t i = 0; i < lists.count; ++i) {
    const std::size_t* const begins = lists.begins + i * lists.stride;
    float sum = 0;
    for (std::size_t e = begins[0] - lists.begins[0]; e < begins[1] - lists.begins[0]; ++e) {
      sum += number<dtype>(values, e) * x[lists.columns[e]];
    }
    sums[i] += sum;
  }
}

}  // namespace

const PerDtype<ListDots> list_dots = {{nullptr, nullptr, dots<Dtype::int8>, nullptr,
                                       dots<Dtype::float16>, dots<Dtype::bfloat16>,
                                       dots<Dtype::float32>, nullptr}};

}  // namespace prunepack::scalar
