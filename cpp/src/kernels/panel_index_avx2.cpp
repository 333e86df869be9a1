// The index layout, AVX2: eight elements are multiplied in the order they are stored, and the
// products then put into their lanes.
#include "places_avx2.h"
#include "tables.h"

namespace prunepack::avx2 {
namespace {

// Eight elements, one after the other.
__m256 widened(const std::uint8_t* values, Float32Weights) noexcept {
  return _mm256_castsi256_ps(load(values));
}

__m256 widened(const std::uint8_t* values, Float16Weights) noexcept {
  return _mm256_cvtph_ps(load_16(values));
}

__m256 widened(const std::uint8_t* values, Bfloat16Weights) noexcept {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_16(values)), 16));
}

__m256 widened(const std::uint8_t* values, Int8Weights) noexcept {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load_8(values)));
}

constexpr std::size_t kIndexColumns = kIndexBlocks * kBlockColumns;

// x at eight columns, a byte each. (Eight loads: the gathers of many CPUs are slower.)
PRUNEPACK_INLINE __m256 at_columns(const float* x, std::uint64_t columns) noexcept {
  const auto at = [&](unsigned i) { return x[columns >> 8 * i & 0xff]; };
  return _mm256_setr_ps(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7));
}

// The activations that columns count in, row after row.
template <std::size_t rows>
class Chunk {
 public:
  PRUNEPACK_INLINE void set(const float* x, std::size_t stride) noexcept {
    if constexpr (rows == 1) {
      first_ = x;  // as it is
      return;
    }
    for (std::size_t block = 0; block < kIndexBlocks; ++block, x += stride) {
      for (std::size_t b = 0; b < rows; ++b) {
        std::memcpy(copy_ + b * kIndexColumns + block * kBlockColumns, x + b * kBlockColumns,
                    kBlockColumns * sizeof(float));
      }
    }
    first_ = copy_;
  }
  const float* row(std::size_t b) const noexcept { return first_ + b * kIndexColumns; }

 private:
  float copy_[rows * kIndexColumns];
  const float* first_;
};

// Adds half a slot, with `mask` of the lanes. Eight elements are multiplied, and those that belong
// to others left out when the products are put into lanes.
template <class Weights, std::size_t h, std::size_t rows>
PRUNEPACK_INLINE void add_half(std::uint8_t mask, const std::uint8_t* columns,
                               const std::uint8_t* values, const Chunk<rows>& x,
                               Sums<rows>& sums) noexcept {
  auto eight = number_at<std::uint64_t>(columns);
  eight &= 0x0101010101010101 * (kIndexColumns - 1);  // what follows is something else
  const __m256 weights = widened(values, Weights{});
  repeat<rows>([&]<std::size_t b>() __attribute__((always_inline)) {
    const __m256 products = _mm256_mul_ps(weights, at_columns(x.row(b), eight));
    __m256& sum = sums.of[0][b][h];
    sum = _mm256_add_ps(sum, placed(kPlaces.of[mask], products));
  });
}

struct Index {
  template <class Weights, std::size_t rows>
  static void run(const PanelShape& shape, const std::uint8_t* panel, const float* x,
                  float* out) noexcept {
    constexpr std::size_t kWidth = sizeof(typename Weights::Bits);
    const std::size_t stride = shape.batch * kBlockColumns;
    Sums<rows> sums;
    Chunk<rows> chunk;
    for (std::size_t i = 0; i < shape.blocks / kIndexBlocks; ++i, x += kIndexBlocks * stride) {
      chunk.set(x, stride);
      const std::uint8_t* masks = panel + 1;
      const std::uint8_t* const end = masks + *panel * sizeof(std::uint16_t);
      for (panel = end; masks != end; masks += sizeof(std::uint16_t)) {
        fetch_ahead<64>(panel);
        const std::uint8_t low = masks[0], high = masks[1];
        const std::size_t in_low = popcount(low), in_both = in_low + popcount(high);
        const std::uint8_t* const columns = panel;
        const std::uint8_t* const values = columns + in_both;
        add_half<Weights, 0>(low, columns, values, chunk, sums);
        add_half<Weights, 1>(high, columns + in_low, values + in_low * kWidth, chunk, sums);
        panel = values + in_both * kWidth;
      }
    }
    sums.store(out, 1);
  }
};

template <class Weights>
void index(const PanelShape& shape, const std::uint8_t* panel, const void* x, void* sums) noexcept {
  in_sweeps<Index, Weights>(shape, panel, x, sums);
}

}  // namespace

const PanelProducts panel_index = PRUNEPACK_PER_WEIGHTS(index, nullptr);

}  // namespace prunepack::avx2
