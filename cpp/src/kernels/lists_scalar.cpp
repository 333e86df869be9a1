// Lists, scalar: the definition.
#include "list_rows.h"
#include "tables.h"
#include "value.h"

namespace prunepack::scalar {
namespace {

void widen_float16(const void* values, std::size_t count, float* out) noexcept {
  const auto* const from = static_cast<const std::uint16_t*>(values);
  for (std::size_t i = 0; i < count; ++i) {
    const double size = magnitude<Dtype::float16>(values, i);
    out[i] = static_cast<float>(from[i] >> 15 != 0 ? -size : size);
  }
}

void product(const List& list, const float* x, std::size_t batch, float* sums) noexcept {
  for (std::size_t i = 0; i < list.count; ++i) {
    const float* const column = x + list.columns[i] * batch;
    for (std::size_t b = 0; b < batch; ++b) sums[b] += list.values[i] * column[b];
  }
}

}  // namespace

const ListKernels lists = {
    .columns = list_columns, .product = product, .values = list_values(widen_float16)};

}  // namespace prunepack::scalar
