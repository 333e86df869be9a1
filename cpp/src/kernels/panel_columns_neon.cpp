// The dense and bitmask layouts, NEON: a panel's registers one after the other, which the bitmask
// has to put together first.
#include "panels_neon.h"
#include "tables.h"

namespace prunepack::neon {
namespace {

class DenseRegisters {
 public:
  explicit DenseRegisters(const std::uint8_t* panel) noexcept : next_(panel) {}

  template <class Weights>
  const std::uint8_t* next(std::size_t) noexcept {
    const std::uint8_t* const cells = next_;
    next_ += kRegisterBytes;
    return cells;
  }

 private:
  const std::uint8_t* next_;
};

// For each mask of as many elements of `width` bytes as a table lookup moves, where their bytes
// come from; those of no element from beyond the table, which gives zeros.
template <std::size_t width>
struct Places {
  static constexpr std::size_t kElements = width == 4 ? 4 : 8;
  alignas(16) std::uint8_t of[1 << kElements][width * kElements];

  constexpr Places() : of() {
    for (std::size_t mask = 0; mask < 1 << kElements; ++mask) {
      std::uint8_t next = 0;
      for (std::size_t i = 0; i < width * kElements; ++i) {
        of[mask][i] = mask >> i / width & 1 ? next++ : std::uint8_t{0xff};
      }
    }
  }
};
template <std::size_t width>
constexpr Places<width> kPlaces;

std::size_t popcount(std::uint8_t mask) noexcept { return vaddv_u8(vcnt_u8(vcreate_u8(mask))); }

class BitmaskRegisters {
 public:
  explicit BitmaskRegisters(const std::uint8_t* panel) noexcept : values_(panel) {}

  // Register s of a block: they must be asked for in order.
  template <class Weights>
  const std::uint8_t* next(std::size_t s) noexcept {
    if (s == 0) {
      mask_ = values_;
      values_ += kBlockMaskBytes;
    }
    std::uint8_t* out = cells_;
    for (std::size_t i = 0; i < 2 * Weights::kParts; ++i, out += 8 * Weights::kWidth) {
      const std::uint8_t mask = *mask_++;
      if constexpr (Weights::kWidth == 4) {
        put<4>(mask & 15, out);
        put<4>(mask >> 4, out + 16);
      } else {
        put<Weights::kWidth>(mask, out);
      }
    }
    return cells_;
  }

 private:
  template <std::size_t width>
  void put(std::uint8_t mask, std::uint8_t* out) noexcept {
    const std::uint8_t* const places = kPlaces<width>.of[mask];
    if constexpr (width == 1) {
      vst1_u8(out, vtbl1_u8(vld1_u8(values_), vld1_u8(places)));
    } else {
      vst1q_u8(out, vqtbl1q_u8(vld1q_u8(values_), vld1q_u8(places)));
    }
    values_ += width * popcount(mask);
  }

  const std::uint8_t *mask_ = nullptr, *values_;
  alignas(16) std::uint8_t cells_[kRegisterBytes];
};

template <class Registers>
struct Columns {
  template <class Weights, std::size_t rows>
  static void run(const PanelShape& shape, const std::uint8_t* panel, const float* x,
                  float* out) noexcept {
    constexpr std::size_t parts = Weights::kParts;
    Registers registers(panel);
    Sums<rows> sums;
    for (std::size_t block = 0; block < shape.blocks; ++block) {
      for (std::size_t s = 0; s < kBlockColumns / parts; ++s) {
        Lanes weights[parts];
        Weights::parts(registers.template next<Weights>(s), weights);
        for (std::size_t p = 0; p < parts; ++p) {
          sums.add(weights[p], [&](std::size_t b, std::size_t) {
            return vdupq_n_f32(x[b * kBlockColumns + s * parts + p]);
          });
        }
      }
      x += shape.batch * kBlockColumns;
    }
    sums.store(out);
  }
};

}  // namespace

const PanelProducts panel_dense = kProductsOf<Columns<DenseRegisters>>;
const PanelProducts panel_bitmask = kProductsOf<Columns<BitmaskRegisters>>;

}  // namespace prunepack::neon
