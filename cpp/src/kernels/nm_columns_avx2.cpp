// nm_columns, AVX2: the lanes of a register are groups already, so nothing is transposed.
#include "nm_upright_avx2.h"
#include "tables.h"

namespace prunepack::avx2 {
namespace {

// Groups of m <= padded elements: zeros in front of them are the smallest and come first, so they
// are pruned before all others.
template <class E, std::size_t padded>
class Columns {
 public:
  using Bits = typename E::Bits;

  Columns(std::size_t n, std::size_t m) noexcept : m_(m), n_(n + padded - m), zeros_(padded - m) {}

  void write(const Bits* weights, std::size_t stride, std::size_t columns, std::uint8_t* mask,
             std::size_t mask_stride) const noexcept {
    std::size_t first = 0;
    for (; first + kStep <= columns; first += kStep) {
      step(weights + first, stride, mask + first / 8, mask_stride);
    }
    if (first < columns)
      write_last(weights + first, stride, columns - first, mask + first / 8, mask_stride);
  }

 private:
  static constexpr std::size_t kLanes = 32 / sizeof(Bits);

  // The mask of kStep columns. Not inlined: it is long, and called in two places.
  [[gnu::noinline]] void step(const Bits* weights, std::size_t stride, std::uint8_t* mask,
                              std::size_t mask_stride) const noexcept {
    __m256i kept[padded][sizeof(Bits)];
    for (std::size_t r = 0; r < sizeof(Bits); ++r) {
      __m256i keys[padded];
#pragma GCC unroll 64
      for (std::size_t i = 0; i < padded; ++i) {
        keys[i] = _mm256_setzero_si256();
        if (i >= zeros_) keys[i] = load(weights + (i - zeros_) * stride + r * kLanes);
        keys[i] = Ordered<E>::of(keys[i]);
      }
      Upright<E, padded>::for_kept(keys, n_,
                                   [&](std::size_t i, __m256i lanes)
                                       PRUNEPACK_INLINE_LAMBDA { kept[i][r] = lanes; });
    }
    for (std::size_t i = zeros_; i < padded; ++i) {
      const std::uint32_t word = signs(kept[i]);
      std::memcpy(mask + (i - zeros_) * mask_stride, &word, sizeof word);
    }
  }

  // The same of fewer columns, from a copy.
  void write_last(const Bits* weights, std::size_t stride, std::size_t columns, std::uint8_t* mask,
                  std::size_t mask_stride) const noexcept {
    Bits copy[padded * kStep] = {};
    std::uint8_t words[padded * 4];
    for (std::size_t e = 0; e < m_; ++e) {
      std::memcpy(copy + e * kStep, weights + e * stride, columns * sizeof(Bits));
    }
    step(copy, kStep, words, 4);
    for (std::size_t e = 0; e < m_; ++e) {
      std::uint32_t word;
      std::memcpy(&word, words + 4 * e, sizeof word);
      put_last_word(mask + e * mask_stride, word, columns);
    }
  }

  std::size_t m_, n_, zeros_;
};

template <class E>
void nm_columns_of(const void* weights, std::size_t stride, std::size_t columns, std::size_t n,
                   std::size_t m, std::uint8_t* mask, std::size_t mask_stride) noexcept {
  if (n == 0 || n == m) {
    for (std::size_t e = 0; e < m; ++e) fill_bits(mask + e * mask_stride, columns, n == 0);
    return;
  }
  const auto* in = static_cast<const typename E::Bits*>(weights);
  if (m <= 2) return Columns<E, 2>(n, m).write(in, stride, columns, mask, mask_stride);
  if (m <= 4) return Columns<E, 4>(n, m).write(in, stride, columns, mask, mask_stride);
  if (m <= 8) return Columns<E, 8>(n, m).write(in, stride, columns, mask, mask_stride);
  if (m <= 16) return Columns<E, 16>(n, m).write(in, stride, columns, mask, mask_stride);
  if (m <= 32) return Columns<E, 32>(n, m).write(in, stride, columns, mask, mask_stride);
  Columns<E, 64>(n, m).write(in, stride, columns, mask, mask_stride);
}

}  // namespace

const PerDtype<NmColumns> nm_columns = PRUNEPACK_PER_ELEMENT(nm_columns_of);

}  // namespace prunepack::avx2
