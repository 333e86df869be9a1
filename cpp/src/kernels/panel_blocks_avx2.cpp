// The blocks layout, AVX2: a tile's columns stand side by side in the lanes, and are added up at
// the end of a band.
#include "panels_avx2.h"
#include "tables.h"

namespace prunepack::avx2 {
namespace {

// The activations of a tile's columns, for every row of the tile in half h of the lanes.
template <std::size_t breadth, std::size_t h>
PRUNEPACK_INLINE __m256 spread(const float* x) noexcept {
  if constexpr (breadth == 1) return _mm256_broadcast_ss(x);
  if constexpr (breadth == 2) {
    return _mm256_castpd_ps(_mm256_broadcast_sd(reinterpret_cast<const double*>(x)));
  }
  if constexpr (breadth == 4) return _mm256_broadcast_ps(reinterpret_cast<const __m128*>(x));
  if constexpr (breadth == 8) return _mm256_load_ps(x);
  return _mm256_load_ps(x + h * kHalfLanes);
}

// Walks over the tiles of a panel, in their order.
template <class Weights, std::size_t rows, std::size_t breadth>
struct Tiles {
  const std::uint8_t* next;
  std::size_t stride;  // of the activations, from block to block

  // The next register, with sums that begin with `chain`.
  template <std::size_t chain>
  PRUNEPACK_INLINE void add_register(const float* x, Sums<rows>& sums) noexcept {
    constexpr std::size_t kColumnsBytes = Weights::kParts * sizeof(std::uint16_t);
    fetch_ahead<64>(next);
    const typename Weights::Cells cells = Weights::load(next + kColumnsBytes);
    repeat<Weights::kParts>([&]<std::size_t p>() __attribute__((always_inline)) {
      const std::size_t first = number_at<std::uint16_t>(next, p) * breadth;
      const float* const x_of = x + first / kBlockColumns * stride + first % kBlockColumns;
      const __m256 low = Weights::template part<p, 0>(cells);
      const __m256 high = Weights::template part<p, 1>(cells);
      repeat<rows>([&]<std::size_t b>() __attribute__((always_inline)) {
        sums.template add<0>(chain + p, b, low, spread<breadth, 0>(x_of + b * kBlockColumns));
        sums.template add<1>(chain + p, b, high, spread<breadth, 1>(x_of + b * kBlockColumns));
      });
    });
    next += kColumnsBytes + kRegisterBytes;
  }

  PRUNEPACK_INLINE Sums<rows> band(std::size_t slots, const float* x) noexcept {
    constexpr std::size_t parts = Weights::kParts, kUnrolled = 4;  // slots
    Sums<rows> sums;
    for (; slots >= kUnrolled; slots -= kUnrolled) {
      repeat<kUnrolled / parts>([&]<std::size_t i>() __attribute__((always_inline)) {
        add_register<i * parts>(x, sums);
      });
    }
    for (; slots > 0; slots -= parts) add_register<0>(x, sums);
    return sums;
  }
};

struct Blocks {
  template <class Weights, std::size_t rows, std::size_t breadth>
  static void run_for(const PanelShape& shape, const std::uint8_t* panel, const float* x,
                      float* out) noexcept {
    constexpr std::size_t kBandRows = kPanelRows / breadth;
    Tiles<Weights, rows, breadth> tiles{panel + kBandCountsBytes, shape.batch * kBlockColumns};
    for (std::size_t band = 0; band < breadth; ++band, out += kBandRows) {
      float lanes[rows * kPanelRows];
      tiles.band(number_at<std::uint32_t>(panel, band), x).store(lanes, Weights::kScale);
      fold_band<breadth, rows>(lanes, out);
    }
  }

  template <class Weights, std::size_t rows>
  static void run(const PanelShape& shape, const std::uint8_t* panel, const float* x,
                  float* out) noexcept {
    as_constant(shape.breadth, [&](auto breadth) noexcept {
      run_for<Weights, rows, decltype(breadth)::value>(shape, panel, x, out);
    });
  }
};

template <class Weights>
void blocks(const PanelShape& shape, const std::uint8_t* panel, const void* x,
            void* sums) noexcept {
  in_sweeps<Blocks, Weights>(shape, panel, x, sums);
}

}  // namespace

const PanelProducts panel_blocks = PRUNEPACK_PER_WEIGHTS(blocks, nullptr);

}  // namespace prunepack::avx2
