// nm_columns, AVX-512: the lanes of a register are groups already, so nothing is transposed.
#include "nm_columns.h"
#include "nm_upright_avx512.h"
#include "tables.h"

namespace prunepack::avx512 {
namespace {

template <class E, std::size_t padded>
class Columns {
 public:
  using Bits = typename E::Bits;
  static constexpr std::size_t kStep = kLanes<Bits>;

  Columns(std::size_t stride, std::size_t n, std::size_t m, std::size_t mask_stride) noexcept
      : stride_(stride), n_(n + padded - m), zeros_(padded - m), mask_stride_(mask_stride) {}

  // The mask of up to kStep columns.
  [[gnu::always_inline]] void write(const Bits* weights, std::size_t columns,
                                    std::uint8_t* mask) const noexcept {
    const auto valid = first_lanes<Bits>(columns);
    __m512i keys[padded];
#pragma GCC unroll 64
    for (std::size_t i = 0; i < padded; ++i) {
      keys[i] = _mm512_setzero_si512();
      if (i >= zeros_) {
        keys[i] = key_of<E>(LanesOf<Bits>::load(valid, weights + (i - zeros_) * stride_));
      }
    }
    Upright<E, padded>::for_kept(keys, n_, [&](std::size_t i, MaskOf<Bits> kept) {
      if (i < zeros_) return;
      std::uint8_t* const row = mask + (i - zeros_) * mask_stride_;
      if (columns == kStep) {
        std::memcpy(row, &kept, sizeof kept);
      } else {
        kept = static_cast<MaskOf<Bits>>(kept & valid);
        std::memcpy(row, &kept, (columns + 7) / 8);
      }
    });
  }

 private:
  std::size_t stride_, n_, zeros_, mask_stride_;
};

template <class E>
constexpr NmColumns kNmColumnsOf = &nm_columns_by<Columns, E>;

}  // namespace

const PerDtype<NmColumns> nm_columns = PRUNEPACK_PER_ELEMENT(kNmColumnsOf);

}  // namespace prunepack::avx512
