// Lists, AVX2.
#include "avx2.h"
#include "list_lanes_x86.h"
#include "list_products.h"
#include "list_rows.h"
#include "tables.h"

namespace prunepack::avx2 {
namespace {

void product(const Lists& lists, const float* x, std::size_t batch, float* sums) noexcept {
  if (batch == 2) return list_product_with<TwoLanes, 2, 8>(lists, x, sums);
  if (batch == 4) return list_product_with<FourLanes, 4, 8>(lists, x, sums);
  if (batch == 8) return list_product_with<EightLanes, 8, 8>(lists, x, sums);
  if (batch == 16) return list_product_with<EightLanes, 16, 8>(lists, x, sums);
  list_product_with<EightLanes, 32, 8>(lists, x, sums);
}

void widen_float16(const void* values, std::size_t count, float* out) noexcept {
  const auto* from = static_cast<const std::uint16_t*>(values);
  for (std::size_t i = 0; i < count; ++i) out[i] = _cvtsh_ss(from[i]);
}

}  // namespace

const ListKernels lists = {
    .columns = list_columns, .product = product, .values = list_values(widen_float16)};

}  // namespace prunepack::avx2
