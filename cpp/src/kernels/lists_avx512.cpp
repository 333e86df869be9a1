// Lists, AVX-512: 64 bits of the mask compress the numbers of their columns.
#include "list_lanes_x86.h"
#include "list_products.h"
#include "list_rows.h"
#include "panels_avx512.h"
#include "tables.h"

namespace prunepack::avx512 {
namespace {

struct SixteenLanes {
  using Register = __m512;
  static constexpr std::size_t kCount = 16;
  static __m512 of(float x) noexcept { return _mm512_set1_ps(x); }
  static __m512 load(const float* from) noexcept { return _mm512_loadu_ps(from); }
  static void store(float* to, __m512 lanes) noexcept { _mm512_storeu_ps(to, lanes); }
  static __m512 add(__m512 a, __m512 b) noexcept { return _mm512_add_ps(a, b); }
  static __m512 multiply_add(__m512 a, __m512 b, __m512 c) noexcept {
    return _mm512_fmadd_ps(a, b, c);
  }
};

// The numbers 0 to 63.
inline __m512i counted() noexcept {
  alignas(64) static constexpr auto kNumbers = [] {
    struct {
      std::uint8_t of[64];
    } numbers{};
    for (std::uint8_t i = 0; i < 64; ++i) numbers.of[i] = i;
    return numbers;
  }();
  return _mm512_load_si512(&kNumbers);
}

// Writes the columns of the bits set in one word.
class Columns {
 public:
  explicit Columns(std::uint16_t* out) noexcept : next_(out) {}

  void add(__mmask64 bits, std::size_t count) noexcept {
    const __m512i in_word = _mm512_mask_compress_epi8(fresh_zero(), bits, counted());
    const __m256i low = _mm512_castsi512_si256(in_word);
    const __m256i first_16 = _mm256_cvtepu8_epi16(_mm256_castsi256_si128(low));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(next_),
                        _mm256_add_epi16(first_16, _mm512_castsi512_si256(before_)));
    if (count > 16) {
      _mm512_storeu_si512(next_, _mm512_add_epi16(_mm512_cvtepu8_epi16(low), before_));
    }
    if (count > 32) {
      const __m256i high = _mm512_extracti64x4_epi64(in_word, 1);
      _mm512_storeu_si512(next_ + 32, _mm512_add_epi16(_mm512_cvtepu8_epi16(high), before_));
    }
    next_ += count;
    before_ = _mm512_add_epi16(before_, _mm512_set1_epi16(64));
  }
  const std::uint16_t* end() const noexcept { return next_; }

 private:
  std::uint16_t* next_;
  __m512i before_ = _mm512_setzero_si512();  // the first column of the word
};

std::size_t columns_of(const std::uint8_t* mask, std::size_t bytes, std::uint16_t* out) noexcept {
  Columns columns(out);
  std::size_t at = 0;
  for (; at + 8 <= bytes; at += 8) {
    columns.add(mask_at<__mmask64>(mask + at), popcount(load_word(mask + at)));
  }
  if (at < bytes) {
    const std::uint64_t word = load_word(mask + at, 8 * (bytes - at));
    columns.add(_cvtu64_mask64(word), popcount(word));
  }
  return static_cast<std::size_t>(columns.end() - out);
}

void widen_float16(const void* values, std::size_t count, float* out) noexcept {
  const auto* from = static_cast<const std::uint16_t*>(values);
  for (std::size_t i = 0; i < count; i += 16) {
    const std::size_t left = count - i;
    const auto lanes = first_lanes<std::uint32_t>(left < 16 ? left : 16);
    const __m256i halves = _mm256_maskz_loadu_epi16(lanes, from + i);
    _mm512_mask_storeu_ps(out + i, lanes, _mm512_cvtph_ps(halves));
  }
}

}  // namespace

const ListKernels lists = {
    .columns = columns_of,
    .product = list_product<4, TwoLanes, FourLanes, EightLanes, SixteenLanes>,
    .values = list_values(widen_float16)};

}  // namespace prunepack::avx512
