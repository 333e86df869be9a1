// Dot products of lists and one row of activations, scalar: the definition.
#include "list_spans.h"
#include "tables.h"
#include "value.h"

namespace prunepack::scalar {
namespace {

template <Dtype dtype>
void dots(const Lists& lists, const float* x, float* sums) noexcept {
  const auto* const values = static_cast<const std::uint8_t*>(lists.values);
  for (std::size_t i = 0; i < lists.count; ++i) {
    const ListSpan list(lists, i);
    float sum = 0;
    for (std::size_t e = list.begin; e < list.end; ++e) {
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
