// Dot products of lists and one row of activations, AVX2, eight elements at a time.
#include "avx2.h"
#include "list_dots.h"
#include "tables.h"

namespace prunepack::avx2 {
namespace {

// Eight values, one after the other, as float32.
template <Dtype dtype>
PRUNEPACK_INLINE __m256 eight_values(const std::uint8_t* values) noexcept {
  const auto* const from = reinterpret_cast<const __m128i*>(values);
  if constexpr (dtype == Dtype::float32) {
    return _mm256_castsi256_ps(load(values));
  } else if constexpr (dtype == Dtype::float16) {
    return _mm256_cvtph_ps(_mm_loadu_si128(from));
  } else if constexpr (dtype == Dtype::bfloat16) {
    const __m256i bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
  } else {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from)));
  }
}

// x at eight columns. (Eight loads: the gathers of many CPUs are slower. A load of two columns is
// the best between many loads, and many shifts of a long one.)
PRUNEPACK_INLINE __m256 at_columns(const float* x, const std::uint16_t* columns) noexcept {
  std::uint32_t two[4];
  std::memcpy(two, columns, sizeof two);
  asm("" : "+r"(two[0]), "+r"(two[1]), "+r"(two[2]), "+r"(two[3]));  // or GCC loads each column
  const auto low = [&](int i) { return x[two[i] & 0xffff]; };
  const auto high = [&](int i) { return x[two[i] >> 16]; };
  return _mm256_setr_ps(low(0), high(0), low(1), high(1), low(2), high(2), low(3), high(3));
}

PRUNEPACK_INLINE float sum_of(__m256 lanes) noexcept {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// Eight lanes, zeros but for the first `count`, from -8 to 16.
PRUNEPACK_INLINE __m256 first_lanes(__m256 lanes, std::ptrdiff_t count) noexcept {
  alignas(64) static constexpr std::int32_t kOnes[32] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                                         -1, -1, -1, -1, -1, -1, -1, -1};
  return _mm256_and_ps(lanes, _mm256_castsi256_ps(load(kOnes + 16 - count)));
}

template <Dtype dtype>
struct Eight {
  static constexpr std::size_t kCount = 8;
  using Register = __m256;

  PRUNEPACK_INLINE static __m256 zero() noexcept { return _mm256_setzero_ps(); }
  PRUNEPACK_INLINE static __m256 add(__m256 a, __m256 b) noexcept { return _mm256_add_ps(a, b); }
  PRUNEPACK_INLINE static float sum(__m256 lanes) noexcept { return sum_of(lanes); }
  PRUNEPACK_INLINE static __m256 add_products(__m256 sums, const std::uint8_t* values,
                                              const std::uint16_t* columns,
                                              const float* x) noexcept {
    return _mm256_fmadd_ps(eight_values<dtype>(values), at_columns(x, columns), sums);
  }
  // (The other values and activations may be anything.)
  PRUNEPACK_INLINE static __m256 products(const std::uint8_t* values, const std::uint16_t* columns,
                                          const float* x, std::ptrdiff_t count) noexcept {
    return first_lanes(_mm256_mul_ps(eight_values<dtype>(values), at_columns(x, columns)), count);
  }
};

}  // namespace

const PerDtype<ListDots> list_dots = PRUNEPACK_LIST_DOTS(Eight);

}  // namespace prunepack::avx2
