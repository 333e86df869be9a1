// The n:m layouts, AVX-512, with dot products of whole cells: one permutation picks the activations
// of all parts, each from its own group of columns.
#include "panel_dots_avx512dot.h"
#include "panel_positions_avx512.h"
#include "tables.h"

namespace prunepack::avx512dot {
namespace {

using namespace avx512;

// The activations of the groups that the parts of a cell belong to, over and over.
template <class Dots, std::size_t group, std::size_t batch>
__m512i groups_at(const typename Dots::Activation* x) noexcept {
  constexpr std::size_t bytes = Dots::kParts * group * sizeof *x;
  constexpr std::size_t block = batch * kBlockColumns;  // from one block to the next
  const auto* const from = reinterpret_cast<const __m128i*>(x);
  if constexpr (bytes == 16) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(from));
  } else if constexpr (batch == 1) {
    return _mm512_loadu_si512(x);
  } else if constexpr (Dots::kParts == 2) {
    const __m512i first = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i*)x));
    return _mm512_inserti64x4(first, _mm256_loadu_si256((const __m256i*)(x + block)), 1);
  } else {
    const auto at = [&](std::size_t i) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + i * block));
    };
    const __m512i first = _mm512_inserti32x4(_mm512_castsi128_si512(at(0)), at(1), 1);
    return _mm512_inserti32x4(_mm512_inserti32x4(first, at(2), 2), at(3), 3);
  }
}

// The index of each part's activation in what groups_at() returns. The permutations ignore the bits
// above it.
template <class Dots, std::size_t group>
__m512i indices(__m512i positions) noexcept {
  constexpr int bits = group == 4 ? 2 : 4;
  const __m512i part = Dots::kParts == 2 ? _mm512_set1_epi32(1 << (16 + bits))
                                         : _mm512_set1_epi32(0x03020100 << bits);
  const __m512i of_part = Dots::kParts == 2 ? _mm512_set1_epi32(0x00010001 << bits)
                                            : _mm512_set1_epi32(0x03030303 << bits);
  return _mm512_ternarylogic_epi32(positions, of_part, part, 0xba);  // (a & ~b) | c
}

template <class Dots>
__m512i pick(__m512i index, __m512i x) noexcept {
  return Dots::kParts == 2 ? _mm512_permutexvar_epi16(index, x) : _mm512_permutexvar_epi8(index, x);
}

template <class Dots, std::size_t group>
void product_of(const PanelShape& shape, const std::uint8_t* panel, const void* activations,
                void* out) noexcept {
  constexpr std::size_t parts = Dots::kParts, bits = group == 4 ? 2 : 4;
  constexpr std::size_t groups = kChunkBlocks * kBlockColumns / group;  // of a chunk
  as_constant(shape.batch, [&](auto rows) noexcept {
    constexpr std::size_t batch = decltype(rows)::value;
    const auto* x = static_cast<const typename Dots::Activation*>(activations);
    const std::uint8_t* next = panel;
    DotSums<Dots, batch> sums;
    sums.clear();
    for (std::size_t chunk = 0; chunk < shape.blocks / kChunkBlocks; ++chunk) {
      const std::uint8_t* positions = next;
      next += chunk_position_bytes(group, shape.kept);
#pragma GCC unroll 8
      for (std::size_t first = 0; first < groups; first += parts) {
        const std::size_t column = first * group;
        const auto* from =
            x + column / kBlockColumns * batch * kBlockColumns + column % kBlockColumns;
        for (std::size_t j = 0; j < shape.kept; ++j) {
          const __m512i index = indices<Dots, group>(positions_at<parts, bits>(positions));
          positions += position_bytes(parts, bits);
          const __m512i cells = _mm512_loadu_si512(next);
          next += kRegisterBytes;
#pragma GCC unroll 16
          for (std::size_t b = 0; b < batch; ++b) {
            auto& sum = sums.of[first / parts % sums.kChains][b];
            const __m512i picked =
                pick<Dots>(index, groups_at<Dots, group, batch>(from + b * kBlockColumns));
            sum = Dots::add(sum, cells, picked);
          }
        }
      }
      x += kChunkBlocks * batch * kBlockColumns;
    }
    sums.store(out);
  });
}

template <class Dots>
void nm4_of(const PanelShape& shape, const std::uint8_t* panel, const void* x,
            void* sums) noexcept {
  product_of<Dots, 4>(shape, panel, x, sums);
}

template <class Dots>
void nm16_of(const PanelShape& shape, const std::uint8_t* panel, const void* x,
             void* sums) noexcept {
  product_of<Dots, 16>(shape, panel, x, sums);
}

}  // namespace

const PanelProducts panel_nm4 = PRUNEPACK_DOT_PRODUCTS(nm4_of);
const PanelProducts panel_nm16 = PRUNEPACK_DOT_PRODUCTS(nm16_of);

}  // namespace prunepack::avx512dot
