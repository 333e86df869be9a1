// nm_columns, AVX-512: the lanes of a register are groups already, so nothing is transposed.
#include "nm_upright_avx512.h"
#include "tables.h"

namespace prunepack::avx512 {
namespace {

// Groups of m <= padded elements: zeros in front of them are the smallest and come first, so they
// are pruned before all others.
template <class E, std::size_t padded>
class Columns {
 public:
  using Bits = typename E::Bits;

  Columns(const void* weights, std::size_t stride, std::size_t n, std::size_t m, std::uint8_t* mask,
          std::size_t mask_stride) noexcept
      : weights_(static_cast<const Bits*>(weights)),
        stride_(stride),
        n_(n + padded - m),
        zeros_(padded - m),
        mask_(mask),
        mask_stride_(mask_stride) {}

  void write(std::size_t columns) const noexcept {
    for (std::size_t first = 0; first < columns; first += kLanes<Bits>) {
      const std::size_t left = columns - first;
      step(first, left < kLanes<Bits> ? left : kLanes<Bits>);
    }
  }

 private:
  [[gnu::always_inline]] void step(std::size_t first, std::size_t columns) const noexcept {
    const auto valid = first_lanes<Bits>(columns);
    __m512i keys[padded];
#pragma GCC unroll 64
    for (std::size_t i = 0; i < padded; ++i) {
      keys[i] = _mm512_setzero_si512();
      if (i >= zeros_) {
        const Bits* const row = weights_ + (i - zeros_) * stride_ + first;
        keys[i] = key_of<E>(LanesOf<Bits>::load(valid, row));
      }
    }
    std::uint8_t* const to = mask_ + first / 8;
    Upright<E, padded>::for_kept(keys, n_, [&](std::size_t i, MaskOf<Bits> kept) {
      if (i < zeros_) return;
      std::uint8_t* const row = to + (i - zeros_) * mask_stride_;
      if (columns == kLanes<Bits>) {
        std::memcpy(row, &kept, sizeof kept);
      } else {
        kept = static_cast<MaskOf<Bits>>(kept & valid);
        std::memcpy(row, &kept, (columns + 7) / 8);
      }
    });
  }

  const Bits* weights_;
  std::size_t stride_, n_, zeros_;
  std::uint8_t* mask_;
  std::size_t mask_stride_;
};

template <class E>
void nm_columns_of(const void* weights, std::size_t stride, std::size_t columns, std::size_t n,
                   std::size_t m, std::uint8_t* mask, std::size_t mask_stride) noexcept {
  if (n == 0 || n == m) {
    for (std::size_t e = 0; e < m; ++e) fill_bits(mask + e * mask_stride, columns, n == 0);
    return;
  }
  if (m <= 2) return Columns<E, 2>(weights, stride, n, m, mask, mask_stride).write(columns);
  if (m <= 4) return Columns<E, 4>(weights, stride, n, m, mask, mask_stride).write(columns);
  if (m <= 8) return Columns<E, 8>(weights, stride, n, m, mask, mask_stride).write(columns);
  if (m <= 16) return Columns<E, 16>(weights, stride, n, m, mask, mask_stride).write(columns);
  if (m <= 32) return Columns<E, 32>(weights, stride, n, m, mask, mask_stride).write(columns);
  Columns<E, 64>(weights, stride, n, m, mask, mask_stride).write(columns);
}

}  // namespace

const PerDtype<NmColumns> nm_columns = PRUNEPACK_PER_ELEMENT(nm_columns_of);

}  // namespace prunepack::avx512
