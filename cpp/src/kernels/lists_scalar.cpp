// Lists, scalar: the definition.
#include "list_products.h"
#include "list_rows.h"
#include "tables.h"
#include "value.h"

namespace prunepack::scalar {
namespace {

void widen_float16(const void* values, std::size_t count, float* out) noexcept {
  const auto* const from = static_cast<const std::uint8_t*>(values);
  for (std::size_t i = 0; i < count; ++i) out[i] = number<Dtype::float16>(from, i);
}

void product(const Lists& lists, const float* x, std::size_t batch, float* sums) noexcept {
  for (std::size_t i = 0; i < lists.count; ++i) {
    const List list = list_at(lists, i);
    for (std::size_t e = 0; e < list.count; ++e) {
      const float* const column = x + list.columns[e] * batch;
      for (std::size_t b = 0; b < batch; ++b) sums[i * batch + b] += list.values[e] * column[b];
    }
  }
}

}  // namespace

const ListKernels lists = {
    .columns = list_columns, .product = product, .values = list_values(widen_float16)};

}  // namespace prunepack::scalar
