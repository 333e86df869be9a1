// The index layout, NEON: a slot's elements are widened together, and then added lane by lane.
#include "panels_neon.h"
#include "tables.h"

namespace prunepack::neon {
namespace {

struct Index {
  template <class Weights, std::size_t rows>
  static void run(const PanelShape& shape, const std::uint8_t* panel, const float* x,
                  float* out) noexcept {
    const std::size_t stride = shape.batch * kBlockColumns;
    float sums[rows][kPanelRows] = {};
    for (std::size_t block = 0; block < shape.blocks; block += kIndexBlocks) {
      const std::size_t slots = *panel++;
      const std::uint8_t* const masks = panel;
      panel += slots * sizeof(std::uint16_t);
      for (std::size_t slot = 0; slot < slots; ++slot) {
        const auto mask = number_at<std::uint16_t>(masks, slot);
        const std::uint8_t* const columns = panel;
        const auto elements = static_cast<std::size_t>(__builtin_popcount(mask));
        const Lanes weights = Weights::in_order(columns + elements);
        float each[kPanelRows];
        for (std::size_t q = 0; q < kQuarters; ++q) vst1q_f32(each + 4 * q, weights.of[q]);
        std::size_t i = 0;
        for (unsigned left = mask; left != 0; left &= left - 1, ++i) {
          const auto lane = static_cast<std::size_t>(__builtin_ctz(left));
          const float* const x_of =
              x + columns[i] / kBlockColumns * stride + columns[i] % kBlockColumns;
          for (std::size_t b = 0; b < rows; ++b) {
            sums[b][lane] += each[i] * x_of[b * kBlockColumns];
          }
        }
        panel = columns + elements * (1 + Weights::kWidth);
      }
      x += kIndexBlocks * stride;
    }
    std::memcpy(out, sums, sizeof sums);
  }
};

}  // namespace

const PanelProducts panel_index = kProductsOf<Index>;

}  // namespace prunepack::neon
