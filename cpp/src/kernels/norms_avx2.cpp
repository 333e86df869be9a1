// tile_norms and column_norms, AVX2.
//
// Elements come in runs of 8, one for each lane of the sum, as two registers of float64. What is
// missing at the end of a tile is +0, which changes no lane: none is ever negative.
//
// l1 and l2 propagate a NaN by themselves, and nothing else makes one of magnitudes. max compares
// keys, which rank NaN highest, and only turns the largest into numbers.
#include "avx2.h"
#include "tables.h"
#include "value.h"

namespace prunepack::avx2 {
namespace {

constexpr std::size_t kRun = 8;

// Eight elements as they are stored, in the low bytes.
template <std::size_t bytes>
struct Run {
  static constexpr std::size_t kRegisters = bytes == 8 ? 2 : 1;
  __m256i lanes[kRegisters];
};

// The first `valid` elements of a run are ones, loaded from here.
alignas(64) constexpr struct Ones {
  std::uint8_t bytes[128];
  constexpr Ones() : bytes{} {
    for (int i = 0; i < 64; ++i) bytes[i] = 0xff;
  }
} kOnes;

template <std::size_t bytes>
PRUNEPACK_INLINE Run<bytes> load_run(const void* from) noexcept {
  if constexpr (bytes == 1) {
    return {{_mm256_castsi128_si256(_mm_loadl_epi64(static_cast<const __m128i*>(from)))}};
  } else if constexpr (bytes == 2) {
    return {{_mm256_castsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(from)))}};
  } else if constexpr (bytes == 4) {
    return {{load(from)}};
  } else {
    return {{load(from), load(static_cast<const std::uint8_t*>(from) + 32)}};
  }
}

// The first `valid` <= 8 elements and zeros. Reads all of the run.
template <std::size_t bytes>
PRUNEPACK_INLINE Run<bytes> load_part(const std::uint8_t* from, std::size_t valid) noexcept {
  Run<bytes> run = load_run<bytes>(from);
  const Run<bytes> ones = load_run<bytes>(kOnes.bytes + 64 - valid * bytes);
  for (std::size_t r = 0; r < run.kRegisters; ++r) {
    run.lanes[r] = _mm256_and_si256(run.lanes[r], ones.lanes[r]);
  }
  return run;
}

// The same, but reads only what is valid.
template <std::size_t bytes>
[[gnu::noinline]] Run<bytes> copy_part(const std::uint8_t* from, std::size_t valid) noexcept {
  alignas(32) std::uint8_t part[kRun * bytes] = {};
  std::memcpy(part, from, valid * bytes);
  return load_run<bytes>(part);
}

struct Doubles {
  __m256d low, high;
};

PRUNEPACK_INLINE Doubles from_floats(__m256 floats) noexcept {
  return {_mm256_cvtps_pd(_mm256_castps256_ps128(floats)),
          _mm256_cvtps_pd(_mm256_extractf128_ps(floats, 1))};
}

// float8_e4m3fn is read as a float16 of the same digits, whose exponent counts from elsewhere: all
// numbers are 256 times too small, and so every sum is, exactly, until it is done.
template <Dtype dtype>
constexpr double kUnit = dtype == Dtype::float8_e4m3fn ? 256 : 1;

template <Dtype dtype>
constexpr std::size_t kBytes = width(dtype);

// The keys of a run.
template <Dtype dtype>
PRUNEPACK_INLINE Run<kBytes<dtype>> keys_of(Run<kBytes<dtype>> run) noexcept {
  constexpr std::uint64_t no_sign = kBytes<dtype> == 1   ? 0x7f7f7f7f7f7f7f7f
                                    : kBytes<dtype> == 2 ? 0x7fff7fff7fff7fff
                                    : kBytes<dtype> == 4 ? 0x7fffffff7fffffff
                                                         : 0x7fffffffffffffff;
  for (__m256i& lanes : run.lanes) {
    if constexpr (dtype == Dtype::uint8) continue;
    lanes = dtype == Dtype::int8 ? _mm256_abs_epi8(lanes)
                                 : _mm256_and_si256(lanes, Lanes<8>::all(no_sign));
  }
  return run;
}

// The numbers that a run of keys stands for, in units of kUnit.
template <Dtype dtype>
PRUNEPACK_INLINE Doubles numbers_of(Run<kBytes<dtype>> keys) noexcept {
  const __m128i small = _mm256_castsi256_si128(keys.lanes[0]);
  if constexpr (dtype == Dtype::int8 || dtype == Dtype::uint8) {
    const __m256i words = _mm256_cvtepu8_epi32(small);
    return {_mm256_cvtepi32_pd(_mm256_castsi256_si128(words)),
            _mm256_cvtepi32_pd(_mm256_extracti128_si256(words, 1))};
  } else if constexpr (dtype == Dtype::float8_e5m2) {
    return from_floats(_mm256_cvtph_ps(_mm_slli_epi16(_mm_cvtepu8_epi16(small), 8)));
  } else if constexpr (dtype == Dtype::float8_e4m3fn) {
    const __m128i halves = _mm_cvtepu8_epi16(small);
    const __m128i nan = _mm_cmpeq_epi16(halves, _mm_set1_epi16(0x7f));
    const __m128i quiet = _mm_and_si128(nan, _mm_set1_epi16(0x7fff));
    return from_floats(_mm256_cvtph_ps(_mm_or_si128(_mm_slli_epi16(halves, 7), quiet)));
  } else if constexpr (dtype == Dtype::float16) {
    return from_floats(_mm256_cvtph_ps(small));
  } else if constexpr (dtype == Dtype::bfloat16) {
    return from_floats(_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(small), 16)));
  } else if constexpr (dtype == Dtype::float32) {
    return from_floats(_mm256_castsi256_ps(keys.lanes[0]));
  } else {
    return {_mm256_castsi256_pd(keys.lanes[0]), _mm256_castsi256_pd(keys.lanes[1])};
  }
}

template <std::size_t bytes>
PRUNEPACK_INLINE Run<bytes> larger_keys(Run<bytes> a, Run<bytes> b) noexcept {
  for (std::size_t r = 0; r < a.kRegisters; ++r) {
    if constexpr (bytes == 1) {
      a.lanes[r] = _mm256_max_epu8(a.lanes[r], b.lanes[r]);
    } else {  // without a sign bit, signed order is the order of keys
      a.lanes[r] = Lanes<bytes>::max(a.lanes[r], b.lanes[r]);
    }
  }
  return a;
}

// The eight lanes of a tile: what the norm has made of the elements so far.
template <Dtype dtype, Norm norm>
struct Sum {
  Doubles lanes{_mm256_setzero_pd(), _mm256_setzero_pd()};

  PRUNEPACK_INLINE void take(Run<kBytes<dtype>> run) noexcept {
    Doubles x = numbers_of<dtype>(keys_of<dtype>(run));
    if constexpr (norm == Norm::l2) {
      x = {_mm256_mul_pd(x.low, x.low), _mm256_mul_pd(x.high, x.high)};
    }
    lanes = {_mm256_add_pd(lanes.low, x.low), _mm256_add_pd(lanes.high, x.high)};
  }
  PRUNEPACK_INLINE Doubles done() const noexcept { return lanes; }
};

template <Dtype dtype>
struct Sum<dtype, Norm::max> {
  Run<kBytes<dtype>> keys = {};

  PRUNEPACK_INLINE void take(Run<kBytes<dtype>> run) noexcept {
    keys = larger_keys(keys, keys_of<dtype>(run));
  }
  PRUNEPACK_INLINE Doubles done() const noexcept { return numbers_of<dtype>(keys); }
};

// The same for a whole tile, whose lanes come together in the end. Sums of 8-bit integers are
// integers below 2^53, the same in any order and without a float64 on the way.
template <Dtype dtype, Norm norm,
          bool integer = (dtype == Dtype::int8 || dtype == Dtype::uint8) && norm != Norm::max>
struct TileSum : Sum<dtype, norm> {};

template <Dtype dtype, Norm norm>
struct TileSum<dtype, norm, true> {
  __m256i sums = _mm256_setzero_si256();

  PRUNEPACK_INLINE void take(Run<1> run) noexcept {
    const __m128i keys = _mm256_castsi256_si128(keys_of<dtype>(run).lanes[0]);
    if constexpr (norm == Norm::l1) {
      const __m128i sum = _mm_sad_epu8(keys, _mm_setzero_si128());
      sums = _mm256_add_epi64(sums, _mm256_zextsi128_si256(sum));
    } else {
      const __m128i words = _mm_cvtepu8_epi16(keys);
      sums = _mm256_add_epi64(sums, _mm256_cvtepu32_epi64(_mm_madd_epi16(words, words)));
    }
  }

  // An integer below 2^52 is the last digits of 2^52 plus itself.
  PRUNEPACK_INLINE Doubles done() const noexcept {
    const __m256d offset = _mm256_set1_pd(0x1p52);
    const __m256d with_offset = _mm256_or_pd(_mm256_castsi256_pd(sums), offset);
    return {_mm256_sub_pd(with_offset, offset), _mm256_setzero_pd()};
  }
};

// Folds one half of the lanes into the other. A NaN in either comes out.
template <Norm norm>
PRUNEPACK_INLINE __m256d fold(__m256d a, __m256d b) noexcept {
  if constexpr (norm != Norm::max) return _mm256_add_pd(a, b);
  // max_pd returns its second operand when one is a NaN.
  return _mm256_blendv_pd(_mm256_max_pd(a, b), a, _mm256_cmp_pd(a, a, _CMP_UNORD_Q));
}

// What four sums come to: in the unit of the norms, every NaN the same.
template <Dtype dtype, Norm norm>
PRUNEPACK_INLINE __m256d finished(__m256d sums) noexcept {
  constexpr double unit = norm == Norm::l2 ? kUnit<dtype> * kUnit<dtype> : kUnit<dtype>;
  if constexpr (unit != 1) sums = _mm256_mul_pd(sums, _mm256_set1_pd(unit));
  const __m256d nan = _mm256_set1_pd(from_bits(kNan));
  return _mm256_blendv_pd(sums, nan, _mm256_cmp_pd(sums, sums, _CMP_UNORD_Q));
}

// The norms of four tiles from their lanes, the first fold done.
template <Norm norm>
PRUNEPACK_INLINE __m256d fold_four(const __m256d (&tiles)[4]) noexcept {
  const __m256d first = fold<norm>(_mm256_permute2f128_pd(tiles[0], tiles[1], 0x20),
                                   _mm256_permute2f128_pd(tiles[0], tiles[1], 0x31));
  const __m256d second = fold<norm>(_mm256_permute2f128_pd(tiles[2], tiles[3], 0x20),
                                    _mm256_permute2f128_pd(tiles[2], tiles[3], 0x31));
  const __m256d folded =  // of the tiles 0, 2, 1, 3
      fold<norm>(_mm256_unpacklo_pd(first, second), _mm256_unpackhi_pd(first, second));
  return _mm256_permute4x64_pd(folded, 0xd8);
}

// The norms of `count` <= 4 tiles side by side, which do not wait for each other's sums.
// `readable`: the weights do not end before the last run of the last tile does. `narrow`: tiles
// have no more than four elements.
template <Dtype dtype, Norm norm, std::size_t count, bool readable, bool narrow>
PRUNEPACK_INLINE __m256d norms_of(const std::uint8_t* tiles, std::size_t size) noexcept {
  constexpr std::size_t bytes = kBytes<dtype>;
  TileSum<dtype, norm> sums[count];
  std::size_t e = 0;
  for (; !narrow && e + kRun <= size; e += kRun) {
#pragma GCC unroll 4
    for (std::size_t t = 0; t < count; ++t) {
      sums[t].take(load_run<bytes>(tiles + (t * size + e) * bytes));
    }
  }
  if (e < size) {
#pragma GCC unroll 4
    for (std::size_t t = 0; t < count; ++t) {
      const std::uint8_t* rest = tiles + (t * size + e) * bytes;
      sums[t].take(readable ? load_part<bytes>(rest, size - e) : copy_part<bytes>(rest, size - e));
    }
  }
  __m256d folded[4] = {};
#pragma GCC unroll 4
  for (std::size_t t = 0; t < count; ++t) {
    const Doubles lanes = sums[t].done();
    folded[t] = narrow ? lanes.low : fold<norm>(lanes.low, lanes.high);
  }
  return finished<dtype, norm>(fold_four<norm>(folded));
}

template <Dtype dtype, Norm norm, bool narrow>
void tile_norms_by(const std::uint8_t* weights, std::size_t tiles, std::size_t size,
                   double* norms) noexcept {
  const std::size_t tile = size * kBytes<dtype>;
  const std::size_t beyond = (kRun - size % kRun) % kRun;  // elements read after a tile
  const std::size_t after = size == 0 ? 0 : (beyond + size - 1) / size;
  std::size_t t = 0;
  for (; t + 4 + after <= tiles; t += 4) {
    _mm256_storeu_pd(norms + t, norms_of<dtype, norm, 4, true, narrow>(weights + t * tile, size));
  }
  for (; t < tiles; ++t) {
    norms[t] = _mm256_cvtsd_f64(norms_of<dtype, norm, 1, false, narrow>(weights + t * tile, size));
  }
}

// A strip of columns, two runs wide.
template <Dtype dtype, Norm norm>
struct Strip {
  static constexpr std::size_t kRuns = 2, kColumns = kRuns * kRun, bytes = kBytes<dtype>;
  using Sums = Sum<dtype, norm>[kRuns];

  const std::uint8_t* top;
  std::size_t stride;   // from row to row, in bytes
  std::size_t size;     // of the tiles
  std::size_t columns;  // up to kColumns

  // The elements `lane`, `lane` + step, ... of the tiles.
  template <std::size_t step, bool whole>
  PRUNEPACK_INLINE void take(std::size_t lane, Sums& sums) const noexcept {
    for (std::size_t e = lane; e < size; e += step) {
      const std::uint8_t* row = top + e * stride;
      if constexpr (whole) {
        sums[0].take(load_run<bytes>(row));
        sums[1].take(load_run<bytes>(row + kRun * bytes));
      } else {
        const std::size_t first = columns < kRun ? columns : kRun;
        sums[0].take(copy_part<bytes>(row, first));
        sums[1].take(copy_part<bytes>(row + first * bytes, columns - first));
      }
    }
  }

  // Lane `lane` with all those folded into it that are a multiple of `distance` away, of the first
  // `lanes`.
  template <std::size_t lanes, bool whole, std::size_t lane, std::size_t distance>
  PRUNEPACK_INLINE void fold_into(Doubles (&folded)[kRuns]) const noexcept {
    if constexpr (distance < lanes) {
      Doubles others[kRuns];
      fold_into<lanes, whole, lane, 2 * distance>(folded);
      fold_into<lanes, whole, lane + distance, 2 * distance>(others);
      for (std::size_t r = 0; r < kRuns; ++r) {
        folded[r] = {fold<norm>(folded[r].low, others[r].low),
                     fold<norm>(folded[r].high, others[r].high)};
      }
    } else {
      Sums sums;
      take<lanes == 1 ? 1 : 8, whole>(lane, sums);
      for (std::size_t r = 0; r < kRuns; ++r) folded[r] = sums[r].done();
    }
  }

  // `lanes` that are not empty; 1 where they do not matter.
  template <std::size_t lanes, bool whole>
  void put(double* norms) const noexcept {
    Doubles folded[kRuns];
    fold_into<lanes, whole, 0, 1>(folded);
    double some[kColumns];
    double* to = whole ? norms : some;
    for (std::size_t r = 0; r < kRuns; ++r) {
      _mm256_storeu_pd(to + r * kRun, finished<dtype, norm>(folded[r].low));
      _mm256_storeu_pd(to + r * kRun + 4, finished<dtype, norm>(folded[r].high));
    }
    if constexpr (!whole) std::memcpy(norms, some, columns * sizeof *norms);
  }

  template <bool whole>
  void put(double* norms) const noexcept {
    if constexpr (norm == Norm::max) return put<1, whole>(norms);
    if constexpr (whole) {
      if (size <= 4) return put<4, true>(norms);
    }
    put<8, whole>(norms);
  }
};

template <Dtype dtype, Norm norm>
void column_norms_by(const std::uint8_t* weights, std::size_t stride, std::size_t size,
                     std::size_t columns, double* norms) noexcept {
  using S = Strip<dtype, norm>;
  constexpr std::size_t bytes = kBytes<dtype>;
  std::size_t c = 0;
  for (; c + S::kColumns <= columns; c += S::kColumns) {
    const S strip{weights + c * bytes, stride * bytes, size, S::kColumns};
    strip.template put<true>(norms + c);
  }
  if (c < columns) {
    const S strip{weights + c * bytes, stride * bytes, size, columns - c};
    strip.template put<false>(norms + c);
  }
}

template <Dtype dtype>
void tile_norms_of(const void* weights, std::size_t tiles, std::size_t size, Norm norm,
                   double* norms) noexcept {
  const auto* bytes = static_cast<const std::uint8_t*>(weights);
  switch (norm) {
    case Norm::l1:
      return size <= 4 ? tile_norms_by<dtype, Norm::l1, true>(bytes, tiles, size, norms)
                       : tile_norms_by<dtype, Norm::l1, false>(bytes, tiles, size, norms);
    case Norm::l2:
      return size <= 4 ? tile_norms_by<dtype, Norm::l2, true>(bytes, tiles, size, norms)
                       : tile_norms_by<dtype, Norm::l2, false>(bytes, tiles, size, norms);
    case Norm::max:
      return size <= 4 ? tile_norms_by<dtype, Norm::max, true>(bytes, tiles, size, norms)
                       : tile_norms_by<dtype, Norm::max, false>(bytes, tiles, size, norms);
  }
}

template <Dtype dtype>
void column_norms_of(const void* weights, std::size_t stride, std::size_t size, std::size_t columns,
                     Norm norm, double* norms) noexcept {
  const auto* bytes = static_cast<const std::uint8_t*>(weights);
  switch (norm) {
    case Norm::l1:
      return column_norms_by<dtype, Norm::l1>(bytes, stride, size, columns, norms);
    case Norm::l2:
      return column_norms_by<dtype, Norm::l2>(bytes, stride, size, columns, norms);
    case Norm::max:
      return column_norms_by<dtype, Norm::max>(bytes, stride, size, columns, norms);
  }
}

}  // namespace

const PerDtype<TileNorms> tile_norms = PRUNEPACK_PER_VALUE(tile_norms_of);
const PerDtype<ColumnNorms> column_norms = PRUNEPACK_PER_VALUE(column_norms_of);

}  // namespace prunepack::avx2
