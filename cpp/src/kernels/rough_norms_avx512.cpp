// rough_norms, AVX-512: a cache line of each row of the tiles at once.
//
// l1 and l2 propagate a NaN by themselves, and nothing else makes one of magnitudes. max compares
// the bits of float32 without the sign, which rank as the magnitudes do, NaN highest.
#include "avx512.h"
#include "rough_norm_walks.h"
#include "tables.h"
#include "value.h"

namespace prunepack::avx512 {
namespace {

constexpr std::size_t kLine = 64, kFloats = 16;

template <Dtype dtype>
constexpr std::size_t kBytes = width(dtype);

// The columns of a line, a register for every sixteen. float64 takes two lines for that.
template <Dtype dtype>
constexpr std::size_t kColumns = kBytes<dtype> == 8 ? kFloats : kLine / kBytes<dtype>;
template <Dtype dtype>
constexpr std::size_t kRegisters = kColumns<dtype> / kFloats;

template <Dtype dtype>
struct Line {
  __m512 columns[kRegisters<dtype>];
};

// What is not there is not read, and zero.
template <bool whole>
[[gnu::always_inline]] inline __m512i load_bytes(const std::uint8_t* from,
                                                 std::size_t valid) noexcept {
  if constexpr (whole) return _mm512_loadu_si512(from);
  return Lanes<1>::load(first_lanes<std::uint8_t>(valid < kLine ? valid : kLine), from);
}

// Sixteen numbers, with their signs, of sixteen bytes.
template <Dtype dtype>
[[gnu::always_inline]] inline __m512 from_bytes(__m128i bytes) noexcept {
  if constexpr (dtype == Dtype::int8) return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
  if constexpr (dtype == Dtype::uint8) return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
  const __m256i halves = _mm256_cvtepu8_epi16(bytes);
  if constexpr (dtype == Dtype::float8_e5m2) return _mm512_cvtph_ps(_mm256_slli_epi16(halves, 8));
  // float8_e4m3fn: its only NaN becomes one of float16, infinite numbers it has not.
  const __m256i digits = _mm256_and_si256(halves, _mm256_set1_epi16(0x7f));
  const __m256i nan = _mm256_cmpeq_epi16(digits, _mm256_set1_epi16(0x7f));
  const __m256i quiet = _mm256_and_si256(nan, _mm256_set1_epi16(0x7fff));
  return _mm512_cvtph_ps(_mm256_or_si256(_mm256_slli_epi16(digits, 7), quiet));
}

// The numbers of a line, with their signs, in units of kUnit. Those of bfloat16 are the even
// columns and then the odd ones: a float32 is a bfloat16 above sixteen zeros, wherever it stands.
template <Dtype dtype, bool whole>
[[gnu::always_inline]] inline Line<dtype> numbers_at(const std::uint8_t* from,
                                                     std::size_t columns) noexcept {
  const __m512i bits = load_bytes<whole>(from, columns * kBytes<dtype>);
  if constexpr (dtype == Dtype::float32) {
    return {{_mm512_castsi512_ps(bits)}};
  } else if constexpr (dtype == Dtype::bfloat16) {
    const __m512i odd = _mm512_and_si512(bits, _mm512_set1_epi32(-0x10000));
    return {{_mm512_castsi512_ps(_mm512_slli_epi32(bits, 16)), _mm512_castsi512_ps(odd)}};
  } else if constexpr (dtype == Dtype::float16) {
    return {{_mm512_cvtph_ps(_mm512_castsi512_si256(bits)),
             _mm512_cvtph_ps(_mm512_extracti64x4_epi64(bits, 1))}};
  } else if constexpr (dtype == Dtype::float64) {
    const std::size_t first = columns < 8 ? columns : 8;
    const __m512i more =
        load_bytes<whole>(from + (whole ? kLine : first * 8), (columns - first) * 8);
    const __m256 low = _mm512_cvtpd_ps(_mm512_castsi512_pd(bits));
    return {{_mm512_insertf32x8(_mm512_castps256_ps512(low),
                                _mm512_cvtpd_ps(_mm512_castsi512_pd(more)), 1)}};
  } else {
    return {{from_bytes<dtype>(_mm512_castsi512_si128(bits)),
             from_bytes<dtype>(_mm512_extracti32x4_epi32(bits, 1)),
             from_bytes<dtype>(_mm512_extracti32x4_epi32(bits, 2)),
             from_bytes<dtype>(_mm512_extracti32x4_epi32(bits, 3))}};
  }
}

template <Norm norm>
[[gnu::always_inline]] inline __m512 with_number(__m512 sum, __m512 x) noexcept {
  if constexpr (norm == Norm::l2) return _mm512_add_ps(sum, _mm512_mul_ps(x, x));
  x = _mm512_abs_ps(x);
  if constexpr (norm == Norm::l1) return _mm512_add_ps(sum, x);
  return _mm512_castsi512_ps(_mm512_max_epu32(_mm512_castps_si512(sum), _mm512_castps_si512(x)));
}

template <Dtype dtype, Norm norm>
[[gnu::always_inline]] inline __m512 finished(__m512 sum) noexcept {
  constexpr float unit = norm == Norm::l2 ? kUnit<dtype> * kUnit<dtype> : kUnit<dtype>;
  if constexpr (unit != 1) sum = _mm512_mul_ps(sum, _mm512_set1_ps(unit));
  const __mmask16 is_nan = _mm512_cmp_ps_mask(sum, sum, _CMP_UNORD_Q);
  const __m512i nan = _mm512_set1_epi32(static_cast<int>(kRoughNan));
  return _mm512_mask_mov_ps(sum, is_nan, _mm512_castsi512_ps(nan));
}

// In the order of the columns.
template <Dtype dtype>
[[gnu::always_inline]] inline Line<dtype> in_order(Line<dtype> line) noexcept {
  if constexpr (dtype == Dtype::bfloat16) {
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    const __m512 even = line.columns[0], odd = line.columns[1];
    line.columns[0] = _mm512_permutex2var_ps(even, low, odd);
    line.columns[1] = _mm512_permutex2var_ps(even, high, odd);
  }
  return line;
}

// The norms of `columns` tiles, no more than a line has. `kSize` is their size where it is known.
// A line from `ahead` on is fetched with each row, if `fetches`.
template <Dtype dtype, Norm norm, std::size_t kSize, bool fetches, bool whole>
[[gnu::always_inline]] inline void put(const std::uint8_t* top, std::size_t stride,
                                       std::size_t size, std::size_t columns,
                                       const std::uint8_t* ahead, float* norms) noexcept {
  Line<dtype> sums;
#pragma GCC unroll 4
  for (__m512& sum : sums.columns) sum = _mm512_setzero_ps();
  const auto add_row = [&](std::size_t e) __attribute__((always_inline)) {
    const auto row = numbers_at<dtype, whole>(top + e * stride, columns);
    if constexpr (fetches) __builtin_prefetch(ahead + e * kLine, 0, 2);  // into L2
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
  for (__m512& sum : sums.columns) sum = finished<dtype, norm>(sum);
  sums = in_order<dtype>(sums);
#pragma GCC unroll 4
  for (std::size_t r = 0; r < kRegisters<dtype>; ++r) {
    const std::size_t first = r * kFloats;
    if constexpr (whole) {
      _mm512_storeu_ps(norms + first, sums.columns[r]);
    } else if (first < columns) {
      const std::size_t left = columns - first;
      const auto lanes = first_lanes<std::uint32_t>(left < kFloats ? left : kFloats);
      _mm512_mask_storeu_ps(norms + first, lanes, sums.columns[r]);
    }
  }
}

template <Dtype dtype, Norm norm, std::size_t kSize, bool fetches>
void rough_norms_by(const std::uint8_t* weights, std::size_t stride, std::size_t size,
                    std::size_t columns, const std::uint8_t* ahead, float* norms) noexcept {
  constexpr std::size_t bytes = kBytes<dtype>, line = kColumns<dtype>;
  std::size_t c = 0;
  for (; c + line <= columns; c += line) {
    put<dtype, norm, kSize, fetches, true>(weights + c * bytes, stride * bytes, size, line,
                                           ahead + c * size * bytes, norms + c);
  }
  if (c < columns) {
    put<dtype, norm, kSize, false, false>(weights + c * bytes, stride * bytes, size, columns - c,
                                          nullptr, norms + c);
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

}  // namespace prunepack::avx512
