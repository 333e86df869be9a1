// The index layout, AVX-512: the columns of a slot pick its activations from the 64 of the chunk.
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

// The 64 activations of a chunk for one row of the batch.
struct Chunk {
  __m512 columns[4];

  static Chunk load(const float* x, std::size_t batch) noexcept {
    Chunk chunk;
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kChunkBlocks; ++i) {
      chunk.columns[i] = _mm512_loadu_ps(x + i * batch * kBlockColumns);
    }
    return chunk;
  }

  __m512 pick(__m512i columns_of_lanes, __mmask16 in_upper_half) const noexcept {
    return _mm512_mask_blend_ps(in_upper_half,
                                _mm512_permutex2var_ps(columns[0], columns_of_lanes, columns[1]),
                                _mm512_permutex2var_ps(columns[2], columns_of_lanes, columns[3]));
  }
};

template <class Slot, std::size_t batch>
void product(const PanelShape& shape, const std::uint8_t* panel, const float* x,
             void* out) noexcept {
  Sums<batch> sums;
  sums.clear();
  const auto add_slot = [&](const float* from, auto chain) noexcept {
    const auto rows = number_at<std::uint16_t>(panel);
    const __mmask16 lanes = mask_at<__mmask16>(panel);
    const std::size_t elements = popcount(rows);
    const std::uint8_t* const columns = panel + sizeof rows;
    const std::uint8_t* const values = columns + elements;
    panel = values + elements * sizeof(typename Slot::Bits);
    const __m512 weights = Slot::expand(lanes, values);
    const __m512i in_chunk = _mm512_cvtepu8_epi32(bytes_at(lanes, columns));
    const __mmask16 in_upper_half = _mm512_test_epi32_mask(in_chunk, _mm512_set1_epi32(32));
#pragma GCC unroll 16
    for (std::size_t b = 0; b < batch; ++b) {
      const __m512 picked =
          Chunk::load(from + b * kBlockColumns, batch).pick(in_chunk, in_upper_half);
      __m512& sum = sums.of[decltype(chain)::value % Sums<batch>::kChains][b];
      sum = _mm512_fmadd_ps(weights, picked, sum);
    }
  };
  for (std::size_t chunk = 0; chunk < shape.blocks / kChunkBlocks; ++chunk) {
    std::size_t slots = *panel++;
    fetch_lines_ahead<8>(panel);
    for (; slots >= 2; slots -= 2) {
      add_slot(x, Constant<0>{});
      add_slot(x, Constant<1>{});
    }
    if (slots != 0) add_slot(x, Constant<2>{});
    x += kChunkBlocks * batch * kBlockColumns;
  }
  sums.store(out, 1);
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
