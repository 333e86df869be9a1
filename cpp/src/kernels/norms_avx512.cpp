// column_norms, AVX-512: a register of float64 is a lane of the sums of eight columns.
//
// l1 and l2 propagate a NaN by themselves, and nothing else makes one of magnitudes. max compares
// the bits of float64 without the sign, which rank as the magnitudes do, NaN highest.
#include "avx512.h"
#include "tables.h"
#include "value.h"

namespace prunepack::avx512 {
namespace {

constexpr std::size_t kRun = 8;  // columns in a register

template <Dtype dtype>
constexpr std::size_t kBytes = width(dtype);

// float8_e4m3fn is read as a float16 of the same digits, whose exponent counts from elsewhere: all
// numbers are 256 times too small, and so every sum is, exactly, until it is done.
template <Dtype dtype>
constexpr double kUnit = dtype == Dtype::float8_e4m3fn ? 256 : 1;

inline __m128i load_16_bytes(const std::uint8_t* from) noexcept {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}

inline __m512d from_halves(__m128i halves) noexcept {
  return _mm512_cvtps_pd(_mm256_cvtph_ps(halves));
}

// Eight numbers, with their signs, in units of kUnit.
template <Dtype dtype>
[[gnu::always_inline]] inline __m512d numbers_at(const std::uint8_t* from) noexcept {
  if constexpr (kBytes<dtype> == 1) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
    if constexpr (dtype == Dtype::int8) return _mm512_cvtepi32_pd(_mm256_cvtepi8_epi32(bytes));
    if constexpr (dtype == Dtype::uint8) return _mm512_cvtepi32_pd(_mm256_cvtepu8_epi32(bytes));
    if constexpr (dtype == Dtype::float8_e5m2) {
      return from_halves(_mm_slli_epi16(_mm_cvtepu8_epi16(bytes), 8));
    }
    // float8_e4m3fn: its only NaN becomes one of float16, infinite numbers it has not.
    const __m128i digits = _mm_and_si128(_mm_cvtepu8_epi16(bytes), _mm_set1_epi16(0x7f));
    const __m128i nan = _mm_cmpeq_epi16(digits, _mm_set1_epi16(0x7f));
    const __m128i quiet = _mm_and_si128(nan, _mm_set1_epi16(0x7fff));
    return from_halves(_mm_or_si128(_mm_slli_epi16(digits, 7), quiet));
  } else if constexpr (dtype == Dtype::float16) {
    return from_halves(load_16_bytes(from));
  } else if constexpr (dtype == Dtype::bfloat16) {
    const __m256i words = _mm256_cvtepu16_epi32(load_16_bytes(from));
    return _mm512_cvtps_pd(_mm256_castsi256_ps(_mm256_slli_epi32(words, 16)));
  } else if constexpr (dtype == Dtype::float32) {
    return _mm512_cvtps_pd(_mm256_loadu_ps(reinterpret_cast<const float*>(from)));
  } else {
    return _mm512_loadu_pd(from);
  }
}

// The square of any number but a float64 is exactly a float64: adding it rounds once either way.
template <Dtype dtype, Norm norm>
[[gnu::always_inline]] inline __m512d with_number(__m512d lane, __m512d x) noexcept {
  if constexpr (norm == Norm::l2) {
    if constexpr (dtype == Dtype::float64) return _mm512_add_pd(lane, _mm512_mul_pd(x, x));
    return _mm512_fmadd_pd(x, x, lane);
  } else if constexpr (norm == Norm::l1) {
    return _mm512_add_pd(lane, _mm512_abs_pd(x));
  } else {
    const __m512i key = _mm512_castpd_si512(_mm512_abs_pd(x));
    return _mm512_castsi512_pd(_mm512_max_epu64(_mm512_castpd_si512(lane), key));
  }
}

template <Norm norm>
[[gnu::always_inline]] inline __m512d fold(__m512d a, __m512d b) noexcept {
  if constexpr (norm != Norm::max) return _mm512_add_pd(a, b);
  return _mm512_castsi512_pd(_mm512_max_epu64(_mm512_castpd_si512(a), _mm512_castpd_si512(b)));
}

// What the sums come to: in the unit of the norms, every NaN the same.
template <Dtype dtype, Norm norm>
[[gnu::always_inline]] inline __m512d finished(__m512d sums) noexcept {
  constexpr double unit = norm == Norm::l2 ? kUnit<dtype> * kUnit<dtype> : kUnit<dtype>;
  if constexpr (unit != 1) sums = _mm512_mul_pd(sums, _mm512_set1_pd(unit));
  const __mmask8 is_nan = _mm512_cmp_pd_mask(sums, sums, _CMP_UNORD_Q);
  return _mm512_mask_mov_pd(sums, is_nan, _mm512_set1_pd(from_bits(kNan)));
}

// Some columns side by side. `kSize` is the size of the tiles where it is known, else 0.
template <Dtype dtype, Norm norm, std::size_t kRuns, std::size_t kSize>
struct Strip {
  static constexpr std::size_t kColumns = kRuns * kRun;

  const std::uint8_t* top;
  std::size_t stride;  // from row to row, in bytes
  std::size_t size;    // of the tiles

  struct Lanes {
    __m512d runs[kRuns];
  };

  // The elements `lane`, `lane` + step, ... of the tiles.
  template <std::size_t step>
  [[gnu::always_inline]] Lanes lane(std::size_t lane) const noexcept {
    Lanes sums;
#pragma GCC unroll 4
    for (std::size_t r = 0; r < kRuns; ++r) sums.runs[r] = _mm512_setzero_pd();
    if constexpr (kSize != 0) {
#pragma GCC unroll 4
      for (std::size_t e = lane; e < kSize; e += step) add_row(e, sums);
    } else {
      for (std::size_t e = lane; e < size; e += step) add_row(e, sums);
    }
    return sums;
  }

  [[gnu::always_inline]] void add_row(std::size_t row, Lanes& sums) const noexcept {
#pragma GCC unroll 4
    for (std::size_t r = 0; r < kRuns; ++r) {
      const __m512d x = numbers_at<dtype>(top + row * stride + r * kRun * kBytes<dtype>);
      sums.runs[r] = with_number<dtype, norm>(sums.runs[r], x);
    }
  }

  // Lane `first` with all those folded into it that are a multiple of `distance` away, of `lanes`.
  // So few lanes are in use at a time that they fit the registers.
  template <std::size_t lanes, std::size_t first, std::size_t distance>
  [[gnu::always_inline]] Lanes folded() const noexcept {
    if constexpr (distance < lanes) {
      Lanes one = folded<lanes, first, 2 * distance>();
      const Lanes other = folded<lanes, first + distance, 2 * distance>();
#pragma GCC unroll 4
      for (std::size_t r = 0; r < kRuns; ++r) {
        one.runs[r] = fold<norm>(one.runs[r], other.runs[r]);
      }
      return one;
    } else {
      return lane<lanes == 1 ? 1 : 8>(first);
    }
  }

  template <std::size_t lanes>
  [[gnu::always_inline]] void put(double* norms) const noexcept {
    const Lanes sums = folded<lanes, 0, 1>();
#pragma GCC unroll 4
    for (std::size_t r = 0; r < kRuns; ++r) {
      _mm512_storeu_pd(norms + r * kRun, finished<dtype, norm>(sums.runs[r]));
    }
  }
};

// `lanes` that are not empty; 1 where they do not matter.
template <Dtype dtype, Norm norm, std::size_t lanes, std::size_t kSize = 0>
void column_norms_by(const std::uint8_t* weights, std::size_t stride, std::size_t size,
                     std::size_t columns, double* norms) noexcept {
  constexpr std::size_t bytes = kBytes<dtype>;
  using Wide = Strip<dtype, norm, bytes == 1 || bytes == 2 ? 4 : bytes == 4 ? 2 : 1, kSize>;
  using Narrow = Strip<dtype, norm, 1, kSize>;
  std::size_t c = 0;
  for (; c + Wide::kColumns <= columns; c += Wide::kColumns) {
    Wide{weights + c * bytes, stride * bytes, size}.template put<lanes>(norms + c);
  }
  for (; c + kRun <= columns; c += kRun) {
    Narrow{weights + c * bytes, stride * bytes, size}.template put<lanes>(norms + c);
  }
  // The last few are copied together, a lane at a time.
  if (const std::size_t rest = columns - c; rest > 0) {
    double last[kRun];
    std::uint8_t part[kRun * 8] = {};
    __m512d sums[8];
    for (__m512d& lane : sums) lane = _mm512_setzero_pd();
    for (std::size_t e = 0; e < size; ++e) {
      std::memcpy(part, weights + (e * stride + c) * bytes, rest * bytes);
      sums[e % 8] = with_number<dtype, norm>(sums[e % 8], numbers_at<dtype>(part));
    }
    for (std::size_t half = 4; half > 0; half /= 2) {
      for (std::size_t j = 0; j < half; ++j) sums[j] = fold<norm>(sums[j], sums[j + half]);
    }
    _mm512_storeu_pd(last, finished<dtype, norm>(sums[0]));
    std::memcpy(norms + c, last, rest * sizeof *norms);
  }
}

template <Dtype dtype, Norm norm>
void column_norms_in(const std::uint8_t* weights, std::size_t stride, std::size_t size,
                     std::size_t columns, double* norms) noexcept {
  if constexpr (norm == Norm::max) {
    return column_norms_by<dtype, norm, 1>(weights, stride, size, columns, norms);
  }
  if (size == 4) return column_norms_by<dtype, norm, 4, 4>(weights, stride, size, columns, norms);
  if (size == 16) return column_norms_by<dtype, norm, 8, 16>(weights, stride, size, columns, norms);
  if (size <= 4) return column_norms_by<dtype, norm, 4>(weights, stride, size, columns, norms);
  column_norms_by<dtype, norm, 8>(weights, stride, size, columns, norms);
}

template <Dtype dtype>
void column_norms_of(const void* weights, std::size_t stride, std::size_t size, std::size_t columns,
                     Norm norm, double* norms) noexcept {
  const auto* bytes = static_cast<const std::uint8_t*>(weights);
  switch (norm) {
    case Norm::l1:
      return column_norms_in<dtype, Norm::l1>(bytes, stride, size, columns, norms);
    case Norm::l2:
      return column_norms_in<dtype, Norm::l2>(bytes, stride, size, columns, norms);
    case Norm::max:
      return column_norms_in<dtype, Norm::max>(bytes, stride, size, columns, norms);
  }
}

}  // namespace

const PerDtype<ColumnNorms> column_norms = PRUNEPACK_PER_VALUE(column_norms_of);

}  // namespace prunepack::avx512
