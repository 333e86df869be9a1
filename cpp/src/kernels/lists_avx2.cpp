// Lists, AVX2.
#include "avx2.h"
#include "list_products.h"
#include "list_rows.h"
#include "tables.h"

namespace prunepack::avx2 {
namespace {

struct Floats {
  using Register = __m256;
  static constexpr std::size_t kCount = 8;
  static __m256 of(float x) noexcept { return _mm256_set1_ps(x); }
  static __m256 load(const float* from) noexcept { return _mm256_loadu_ps(from); }
  static void store(float* to, __m256 lanes) noexcept { _mm256_storeu_ps(to, lanes); }
  static __m256 add(__m256 a, __m256 b) noexcept { return _mm256_add_ps(a, b); }
  static __m256 multiply_add(__m256 a, __m256 b, __m256 c) noexcept {
    return _mm256_fmadd_ps(a, b, c);
  }
};

void product(const List& list, const float* x, std::size_t batch, float* sums) noexcept {
  if (batch == 8) return list_product_with<Floats, 8, 8>(list, x, sums);
  if (batch == 16) return list_product_with<Floats, 16, 8>(list, x, sums);
  list_product_with<Floats, 32, 8>(list, x, sums);
}

void widen_float16(const void* values, std::size_t count, float* out) noexcept {
  const auto* from = static_cast<const std::uint16_t*>(values);
  for (std::size_t i = 0; i < count; ++i) out[i] = _cvtsh_ss(from[i]);
}

}  // namespace

const ListKernels lists = {
    .columns = list_columns, .product = product, .values = list_values(widen_float16)};

}  // namespace prunepack::avx2
