// The blocks layout, NEON: a tile's columns stand side by side in the lanes, and are added up at
// the end of a band.
#include "panels_neon.h"
#include "tables.h"

namespace prunepack::neon {
namespace {

// The activations of a tile's columns, for every row of the tile in quarter q of the lanes.
template <std::size_t breadth>
float32x4_t spread(const float* x, std::size_t q) noexcept {
  if constexpr (breadth == 1) return vdupq_n_f32(*x);
  if constexpr (breadth == 2) return vcombine_f32(vld1_f32(x), vld1_f32(x));
  return vld1q_f32(x + q * kQuarterLanes % breadth);
}

struct Blocks {
  template <class Weights, std::size_t rows, std::size_t breadth>
  static void run_for(const PanelShape& shape, const std::uint8_t* panel, const float* x,
                      float* out) noexcept {
    constexpr std::size_t parts = Weights::kParts, kBandRows = kPanelRows / breadth;
    const std::size_t stride = shape.batch * kBlockColumns;
    const std::uint8_t* next = panel + kBandCountsBytes;
    for (std::size_t band = 0; band < breadth; ++band, out += kBandRows) {
      Sums<rows> sums;
      for (std::size_t slots = number_at<std::uint32_t>(panel, band); slots > 0; slots -= parts) {
        const std::uint8_t* const columns = next;
        Lanes weights[parts];
        Weights::parts(columns + parts * sizeof(std::uint16_t), weights);
        for (std::size_t p = 0; p < parts; ++p) {
          const std::size_t first = number_at<std::uint16_t>(columns, p) * breadth;
          const float* const x_of = x + first / kBlockColumns * stride + first % kBlockColumns;
          sums.add(weights[p], [&](std::size_t b, std::size_t q) {
            return spread<breadth>(x_of + b * kBlockColumns, q);
          });
        }
        next += parts * sizeof(std::uint16_t) + kRegisterBytes;
      }
      float lanes[rows * kPanelRows];
      sums.store(lanes);
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

}  // namespace

const PanelProducts panel_blocks = kProductsOf<Blocks>;

}  // namespace prunepack::neon
