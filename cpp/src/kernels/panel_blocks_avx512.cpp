// The blocks layout, AVX-512: a tile times the columns it stands on, repeated for each of its rows.
#include "panels_avx512.h"
#include "tables.h"

namespace prunepack::avx512 {
namespace {

// `breadth` activations, over and over.
template <std::size_t breadth>
__m512 repeated(const float* x) noexcept {
  if constexpr (breadth == 1) {
    return _mm512_set1_ps(*x);
  } else if constexpr (breadth == 2) {
    double pair;
    std::memcpy(&pair, x, sizeof pair);
    return _mm512_castpd_ps(_mm512_set1_pd(pair));
  } else if constexpr (breadth == 4) {
    return _mm512_broadcast_f32x4(_mm_loadu_ps(x));
  } else if constexpr (breadth == 8) {
    return _mm512_broadcast_f32x8(_mm256_loadu_ps(x));
  } else {
    return _mm512_loadu_ps(x);
  }
}

// The sums of every `breadth` neighbouring lanes, in the first 16 / breadth lanes.
template <std::size_t breadth>
__m512 fold(__m512 lanes) noexcept {
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#pragma GCC unroll 4
  for (std::size_t step = breadth / 2; step > 0; step /= 2) {
    const __m512i other = _mm512_xor_si512(lane, _mm512_set1_epi32(static_cast<int>(step)));
    lanes = _mm512_add_ps(lanes, _mm512_permutexvar_ps(other, lanes));
  }
  return _mm512_permutexvar_ps(_mm512_mullo_epi32(lane, _mm512_set1_epi32(breadth)), lanes);
}

// Adds the slots from p on of a register; `columns` are where their tiles begin, over breadth.
template <class Weights, std::size_t breadth, std::size_t p, std::size_t batch>
PRUNEPACK_INLINE void add_slots(typename Weights::Cells cells, const std::uint8_t* columns,
                                std::size_t chain, const float* x, Sums<batch>& sums) noexcept {
  if constexpr (p < Weights::kParts) {
    const __m512 weights = Weights::template part<p>(cells);
    const std::size_t column = number_at<std::uint16_t>(columns, p) * breadth;
    const float* const from =
        batch == 1 ? x + column
                   : x + column / kBlockColumns * batch * kBlockColumns + column % kBlockColumns;
#pragma GCC unroll 16
    for (std::size_t b = 0; b < batch; ++b) {
      __m512& sum = sums.of[(chain + p) % Sums<batch>::kChains][b];
      sum = _mm512_fmadd_ps(weights, repeated<breadth>(from + b * kBlockColumns), sum);
    }
    add_slots<Weights, breadth, p + 1>(cells, columns, chain, x, sums);
  }
}

template <class Weights, std::size_t breadth, std::size_t batch>
void product(const std::uint8_t* panel, const float* x, float* out) noexcept {
  constexpr std::size_t parts = Weights::kParts, band_rows = kPanelRows / breadth;
  constexpr std::size_t column_bytes = parts * sizeof(std::uint16_t);
  const std::uint8_t* next = panel + kBandCountsBytes;
  for (std::size_t band = 0; band < breadth; ++band) {
    auto slots = number_at<std::uint32_t>(panel, band);
    Sums<batch> sums;
    sums.clear();
    const auto add_register = [&](std::size_t chain) noexcept {
      add_slots<Weights, breadth, 0>(Weights::load(next + column_bytes), next, chain, x, sums);
      next += column_bytes + kRegisterBytes;
    };
    for (; slots >= 4; slots -= 4) {
#pragma GCC unroll 4
      for (std::size_t chain = 0; chain < 4; chain += parts) add_register(chain);
    }
    for (; slots > 0; slots -= static_cast<std::uint32_t>(parts)) add_register(0);
#pragma GCC unroll 16
    for (std::size_t b = 0; b < batch; ++b) {
      const __m512 rows =
          _mm512_mul_ps(fold<breadth>(sums.row(b)), _mm512_set1_ps(Weights::kScale));
      _mm512_mask_storeu_ps(out + b * kPanelRows + band * band_rows,
                            first_lanes<std::uint32_t>(band_rows), rows);
    }
  }
}

template <class Weights>
void blocks_of(const PanelShape& shape, const std::uint8_t* panel, const void* activations,
               void* sums) noexcept {
  const auto* x = static_cast<const float*>(activations);
  auto* out = static_cast<float*>(sums);
  as_constant(shape.batch, [&](auto rows) noexcept {
    as_constant(shape.breadth, [&](auto breadth) noexcept {
      product<Weights, decltype(breadth)::value, decltype(rows)::value>(panel, x, out);
    });
  });
}

}  // namespace

const PanelProducts panel_blocks = PRUNEPACK_FLOAT_PRODUCTS(blocks_of);

}  // namespace prunepack::avx512
