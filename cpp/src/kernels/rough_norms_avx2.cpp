// rough_norms, AVX2: up to a cache line of each row of the tiles at once.
//
// l1 and l2 propagate a NaN by themselves, and nothing else makes one of magnitudes. max compares
// the bits of float32 without the sign, which rank as the magnitudes do, NaN highest.
#include "avx2.h"
#include "rough_norm_walks.h"
#include "tables.h"
#include "value.h"

namespace prunepack::avx2 {
namespace {

constexpr std::size_t kFloats = 8;

template <Dtype dtype>
constexpr std::size_t kBytes = width(dtype);

// The columns of a strip, a register for every eight.
template <Dtype dtype>
constexpr std::size_t kRegisters = kBytes<dtype> == 8   ? 1
                                   : kBytes<dtype> == 4 ? 2
                                                        : 4;
template <Dtype dtype>
constexpr std::size_t kColumns = kRegisters<dtype> * kFloats;

template <Dtype dtype>
struct Strip {
  __m256 columns[kRegisters<dtype>];
};

PRUNEPACK_INLINE __m128i load_16(const std::uint8_t* from) noexcept {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}

// Eight numbers, with their signs, of eight bytes.
template <Dtype dtype>
PRUNEPACK_INLINE __m256 from_bytes(const std::uint8_t* from) noexcept {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
  if constexpr (dtype == Dtype::int8) return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
  if constexpr (dtype == Dtype::uint8) return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
  const __m128i halves = _mm_cvtepu8_epi16(bytes);
  if constexpr (dtype == Dtype::float8_e5m2) return _mm256_cvtph_ps(_mm_slli_epi16(halves, 8));
  // float8_e4m3fn: its only NaN becomes one of float16, infinite numbers it has not.
  const __m128i digits = _mm_and_si128(halves, _mm_set1_epi16(0x7f));
  const __m128i nan = _mm_cmpeq_epi16(digits, _mm_set1_epi16(0x7f));
  const __m128i quiet = _mm_and_si128(nan, _mm_set1_epi16(0x7fff));
  return _mm256_cvtph_ps(_mm_or_si128(_mm_slli_epi16(digits, 7), quiet));
}

// The numbers of a row of a strip, with their signs, in units of kUnit. Of every sixteen bfloat16,
// those in even columns come first: a float32 is a bfloat16 above sixteen zeros, wherever it
// stands.
template <Dtype dtype>
PRUNEPACK_INLINE Strip<dtype> numbers_at(const std::uint8_t* from) noexcept {
  Strip<dtype> row;
#pragma GCC unroll 4
  for (std::size_t r = 0; r < kRegisters<dtype>; ++r) {
    const std::uint8_t* here = from + r * kFloats * kBytes<dtype>;
    if constexpr (dtype == Dtype::float32) {
      row.columns[r] = _mm256_castsi256_ps(load(here));
    } else if constexpr (dtype == Dtype::bfloat16) {
      const __m256i bits = load(from + r / 2 * 32);
      row.columns[r] =
          _mm256_castsi256_ps(r % 2 == 0 ? _mm256_slli_epi32(bits, 16)
                                         : _mm256_and_si256(bits, _mm256_set1_epi32(-0x10000)));
    } else if constexpr (dtype == Dtype::float16) {
      row.columns[r] = _mm256_cvtph_ps(load_16(here));
    } else if constexpr (dtype == Dtype::float64) {
      const auto* doubles = reinterpret_cast<const double*>(here);
      row.columns[r] = _mm256_set_m128(_mm256_cvtpd_ps(_mm256_loadu_pd(doubles + 4)),
                                       _mm256_cvtpd_ps(_mm256_loadu_pd(doubles)));
    } else {
      row.columns[r] = from_bytes<dtype>(here);
    }
  }
  return row;
}

template <Norm norm>
PRUNEPACK_INLINE __m256 with_number(__m256 sum, __m256 x) noexcept {
  if constexpr (norm == Norm::l2) return _mm256_add_ps(sum, _mm256_mul_ps(x, x));
  x = _mm256_and_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff)));
  if constexpr (norm == Norm::l1) return _mm256_add_ps(sum, x);
  return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(sum), _mm256_castps_si256(x)));
}

template <Dtype dtype, Norm norm>
PRUNEPACK_INLINE __m256 finished(__m256 sum) noexcept {
  constexpr float unit = norm == Norm::l2 ? kUnit<dtype> * kUnit<dtype> : kUnit<dtype>;
  if constexpr (unit != 1) sum = _mm256_mul_ps(sum, _mm256_set1_ps(unit));
  const __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(kRoughNan)));
  return _mm256_blendv_ps(sum, nan, _mm256_cmp_ps(sum, sum, _CMP_UNORD_Q));
}

// In the order of the columns.
template <Dtype dtype>
PRUNEPACK_INLINE void put_in_order(Strip<dtype>& strip) noexcept {
  if constexpr (dtype == Dtype::bfloat16) {
#pragma GCC unroll 2
    for (std::size_t r = 0; r < kRegisters<dtype>; r += 2) {
      const __m256 even = strip.columns[r], odd = strip.columns[r + 1];
      const __m256 low = _mm256_unpacklo_ps(even, odd), high = _mm256_unpackhi_ps(even, odd);
      strip.columns[r] = _mm256_permute2f128_ps(low, high, 0x20);
      strip.columns[r + 1] = _mm256_permute2f128_ps(low, high, 0x31);
    }
  }
}

// The norms of a strip of tiles. `kSize` is their size where it is known. As many bytes from
// `ahead` on are fetched, if `fetches`.
template <Dtype dtype, Norm norm, std::size_t kSize, bool fetches, class RowAt>
PRUNEPACK_INLINE void put(std::size_t size, const std::uint8_t* ahead, float* norms,
                          const RowAt& row_at) noexcept {
  Strip<dtype> sums;
#pragma GCC unroll 4
  for (__m256& sum : sums.columns) sum = _mm256_setzero_ps();
  const auto add_row = [&](std::size_t e) __attribute__((always_inline)) {
    const Strip<dtype> row = numbers_at<dtype>(row_at(e));
    if constexpr (fetches) {
      __builtin_prefetch(ahead + e * kColumns<dtype> * kBytes<dtype>, 0, 2);  // into L2
    }
#pragma GCC unroll 4
    for (std::size_t r = 0; r < kRegisters<dtype>; ++r) {
      sums.columns[r] = with_number<norm>(sums.columns[r], row.columns[r]);
    }
  };
  if constexpr (kSize != 0) {
#pragma GCC unroll 4
    for (std::size_t e = 0; e < kSize; ++e) add_row(e);
  } else {
    for (std::size_t e = 0; e < size; ++e) add_row(e);
  }
#pragma GCC unroll 4
  for (__m256& sum : sums.columns) sum = finished<dtype, norm>(sum);
  put_in_order<dtype>(sums);
#pragma GCC unroll 4
  for (std::size_t r = 0; r < kRegisters<dtype>; ++r) {
    _mm256_storeu_ps(norms + r * kFloats, sums.columns[r]);
  }
}

template <Dtype dtype, Norm norm, std::size_t kSize, bool fetches>
void rough_norms_by(const std::uint8_t* weights, std::size_t stride, std::size_t size,
                    std::size_t columns, const std::uint8_t* ahead, float* norms) noexcept {
  constexpr std::size_t bytes = kBytes<dtype>, strip = kColumns<dtype>;
  std::size_t c = 0;
  for (; c + strip <= columns; c += strip) {
    const std::uint8_t* top = weights + c * bytes;
    put<dtype, norm, kSize, fetches>(size, ahead + c * size * bytes, norms + c,
                                     [=](std::size_t e) { return top + e * stride * bytes; });
  }
  if (const std::size_t rest = columns - c; rest > 0) {
    float last[strip];
    std::uint8_t part[strip * bytes] = {};
    put<dtype, norm, 0, false>(size, nullptr, last, [&](std::size_t e) {
      std::memcpy(part, weights + (e * stride + c) * bytes, rest * bytes);
      return part;
    });
    std::memcpy(norms + c, last, rest * sizeof *norms);
  }
}

template <Dtype dtype>
struct RoughNormsBy {
  template <Norm norm, std::size_t kSize, bool fetches, class... Arguments>
  void by(Arguments... arguments) const noexcept {
    rough_norms_by<dtype, norm, kSize, fetches>(arguments...);
  }
};

template <Dtype dtype>
constexpr RoughNorms kRoughNormsOf = &rough_norms_of<RoughNormsBy<dtype>>;

}  // namespace

const PerDtype<RoughNorms> rough_norms = PRUNEPACK_PER_VALUE(kRoughNormsOf);

}  // namespace prunepack::avx2
