// nm_columns, AVX2: the lanes of a register are groups already, so nothing is transposed.
#include "nm_columns.h"
#include "nm_upright_avx2.h"
#include "tables.h"

namespace prunepack::avx2 {
namespace {

template <class E, std::size_t padded>
class Columns {
 public:
  using Bits = typename E::Bits;
  static constexpr std::size_t kStep = avx2::kStep;

  Columns(std::size_t stride, std::size_t n, std::size_t m, std::size_t mask_stride) noexcept
      : stride_(stride), m_(m), n_(n + padded - m), mask_stride_(mask_stride) {}

  // The mask of up to kStep columns; of fewer by way of a copy.
  PRUNEPACK_INLINE void write(const Bits* weights, std::size_t columns,
                              std::uint8_t* mask) const noexcept {
    Bits copy[padded * kStep];
    std::uint8_t words[padded * 4];
    const bool whole = columns == kStep;
    if (!whole) {
      std::memset(copy, 0, sizeof copy);
      for (std::size_t e = 0; e < m_; ++e) {
        std::memcpy(copy + e * kStep, weights + e * stride_, columns * sizeof(Bits));
      }
    }
    step(whole ? weights : copy, whole ? stride_ : kStep, whole ? mask : words,
         whole ? mask_stride_ : 4);
    for (std::size_t e = 0; !whole && e < m_; ++e) {
      std::uint32_t word;
      std::memcpy(&word, words + 4 * e, sizeof word);
      put_last_word(mask + e * mask_stride_, word, columns);
    }
  }

 private:
  static constexpr std::size_t kLanes = 32 / sizeof(Bits);

  // The mask of kStep columns.
  PRUNEPACK_INLINE void step(const Bits* weights, std::size_t stride, std::uint8_t* mask,
                             std::size_t mask_stride) const noexcept {
    const std::size_t zeros = padded - m_;
    __m256i kept[padded][sizeof(Bits)];
    for (std::size_t r = 0; r < sizeof(Bits); ++r) {
      __m256i keys[padded];
#pragma GCC unroll 64
      for (std::size_t i = 0; i < padded; ++i) {
        keys[i] = _mm256_setzero_si256();
        if (i >= zeros) keys[i] = load(weights + (i - zeros) * stride + r * kLanes);
        keys[i] = Ordered<E>::of(keys[i]);
      }
      Upright<E, padded>::for_kept(keys, n_,
                                   [&](std::size_t i, __m256i lanes)
                                       PRUNEPACK_INLINE_LAMBDA { kept[i][r] = lanes; });
    }
    for (std::size_t i = zeros; i < padded; ++i) {
      const std::uint32_t word = signs(kept[i]);
      std::memcpy(mask + (i - zeros) * mask_stride, &word, sizeof word);
    }
  }

  std::size_t stride_, m_, n_, mask_stride_;
};

template <class E>
constexpr NmColumns kNmColumnsOf = &nm_columns_by<Columns, E>;

}  // namespace

const PerDtype<NmColumns> nm_columns = PRUNEPACK_PER_ELEMENT(kNmColumnsOf);

}  // namespace prunepack::avx2
