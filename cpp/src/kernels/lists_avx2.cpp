// Lists, AVX2: a byte of mask is looked up in a table of positions.
#include "avx2.h"
#include "list_lanes_x86.h"
#include "list_products.h"
#include "list_rows.h"
#include "tables.h"

namespace prunepack::avx2 {
namespace {

// The positions of the bits set in each byte, one after the other.
struct Positions {
  alignas(64) std::uint8_t of[256][8] = {};

  constexpr Positions() {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      std::size_t next = 0;
      for (std::uint8_t bit = 0; bit < 8; ++bit) {
        if ((byte >> bit & 1) != 0) of[byte][next++] = bit;
      }
    }
  }
};
constexpr Positions kPositions;

std::size_t columns_of(const std::uint8_t* mask, std::size_t bytes, std::uint16_t* out) noexcept {
  std::uint16_t* next = out;
  __m128i before = _mm_setzero_si128();  // the first column of the byte
  for (std::size_t i = 0; i < bytes; ++i) {
    const auto* const positions = reinterpret_cast<const __m128i*>(kPositions.of[mask[i]]);
    const __m128i in_byte = _mm_cvtepu8_epi16(_mm_loadl_epi64(positions));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(next), _mm_add_epi16(in_byte, before));
    next += popcount(mask[i]);
    before = _mm_add_epi16(before, _mm_set1_epi16(8));
  }
  return static_cast<std::size_t>(next - out);
}

void widen_float16(const void* values, std::size_t count, float* out) noexcept {
  const auto* from = static_cast<const std::uint16_t*>(values);
  std::size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(halves));
  }
  for (; i < count; ++i) out[i] = _cvtsh_ss(from[i]);
}

}  // namespace

const ListKernels lists = {.columns = columns_of,
                           .product = list_product<8, TwoLanes, FourLanes, EightLanes, EightLanes>,
                           .values = list_values(widen_float16)};

}  // namespace prunepack::avx2
