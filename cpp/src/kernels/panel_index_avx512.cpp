// The index layout, AVX-512: the columns of a slot pick its activations from those of two blocks.
#include "panels_avx512.h"
#include "tables.h"

namespace prunepack::avx512 {
namespace {

// Bytes spread over the lanes of `rows`, zero in the others.
inline __m128i bytes_at(__mmask16 rows, const std::uint8_t* bytes) noexcept {
  return _mm_mask_expandloadu_epi8(_mm512_castsi512_si128(fresh_zero()), rows, bytes);
}

// The elements of a slot, spread over the lanes of `rows`.
struct SlotFloat32 {
  using Bits = std::uint32_t;
  static __m512 expand(__mmask16 rows, const std::uint8_t* values) noexcept {
    return _mm512_castsi512_ps(_mm512_mask_expandloadu_epi32(fresh_zero(), rows, values));
  }
};

struct SlotFloat16 {
  using Bits = std::uint16_t;
  static __m512 expand(__mmask16 rows, const std::uint8_t* values) noexcept {
    return _mm512_cvtph_ps(
        _mm256_mask_expandloadu_epi16(_mm512_castsi512_si256(fresh_zero()), rows, values));
  }
};

struct SlotBfloat16 {
  using Bits = std::uint16_t;
  static __m512 expand(__mmask16 rows, const std::uint8_t* values) noexcept {
    const __m256i halves =
        _mm256_mask_expandloadu_epi16(_mm512_castsi512_si256(fresh_zero()), rows, values);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
  }
};

struct SlotInt8 {
  using Bits = std::uint8_t;
  static __m512 expand(__mmask16 rows, const std::uint8_t* values) noexcept {
    const __m128i bytes = bytes_at(rows, values);
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
  }
};

// The activations of both blocks of one row of the batch.
struct Columns {
  __m512 of[kIndexBlocks];

  static Columns load(const float* x, std::size_t batch) noexcept {
    return {{_mm512_loadu_ps(x), _mm512_loadu_ps(x + batch * kBlockColumns)}};
  }
  __m512 pick(__m512i columns_of_lanes) const noexcept {
    return _mm512_permutex2var_ps(of[0], columns_of_lanes, of[1]);
  }
};

template <class Slot, std::size_t batch>
void product(const PanelShape& shape, const std::uint8_t* panel, const float* x,
             void* out) noexcept {
  __m512 sums[batch];
#pragma GCC unroll 16
  for (std::size_t b = 0; b < batch; ++b) sums[b] = _mm512_setzero_ps();
  for (std::size_t block = 0; block < shape.blocks; block += kIndexBlocks) {
    const std::uint8_t* masks = panel + 1;
    const std::uint8_t* const end = masks + *panel * sizeof(std::uint16_t);
    for (panel = end; masks != end; masks += sizeof(std::uint16_t)) {
      fetch_lines_ahead<1>(panel);
      const std::size_t elements = popcount(number_at<std::uint16_t>(masks));
      const __mmask16 rows = mask_at<__mmask16>(masks);
      const std::uint8_t* const values = panel + elements;
      const __m512i columns = _mm512_cvtepu8_epi32(bytes_at(rows, panel));
      const __m512 weights = Slot::expand(rows, values);
      panel = values + elements * sizeof(typename Slot::Bits);
#pragma GCC unroll 16
      for (std::size_t b = 0; b < batch; ++b) {
        const __m512 picked = Columns::load(x + b * kBlockColumns, batch).pick(columns);
        sums[b] = _mm512_fmadd_ps(weights, picked, sums[b]);
      }
    }
    x += kIndexBlocks * batch * kBlockColumns;
  }
#pragma GCC unroll 16
  for (std::size_t b = 0; b < batch; ++b) {
    _mm512_storeu_ps(static_cast<float*>(out) + b * kPanelRows, sums[b]);
  }
}

template <class Slot>
void index_of(const PanelShape& shape, const std::uint8_t* panel, const void* x,
              void* sums) noexcept {
  as_constant(shape.batch, [&](auto rows) noexcept {
    product<Slot, decltype(rows)::value>(shape, panel, static_cast<const float*>(x), sums);
  });
}

}  // namespace

const PanelProducts panel_index = {{index_of<SlotFloat32>, index_of<SlotFloat16>,
                                    index_of<SlotBfloat16>, index_of<SlotInt8>, nullptr, nullptr}};

}  // namespace prunepack::avx512
