// Products of layouts that hold every column of a panel, dense and bitmask: Registers<Weights>
// gives the registers of a panel one after the other, each with its place in its block. In an
// unnamed namespace; key.h says why.
#pragma once

#include "panels_avx2.h"

namespace prunepack::avx2 {
namespace {

// One or several rows of activations, with sums in registers.
template <template <class> class Registers, class Weights, std::size_t rows>
void few_rows(const PanelShape& shape, const std::uint8_t* panel, const float* x,
              float* out) noexcept {
  Registers<Weights> registers(shape, panel);
  Sums<rows> sums;
  for (std::size_t block = 0; block < shape.blocks; ++block, x += rows * kBlockColumns) {
    repeat<kBlockColumns / Weights::kParts>([&]<std::size_t s>() __attribute__((always_inline)) {
      const typename Weights::Cells cells = registers.next(s);
      repeat<Weights::kParts>([&]<std::size_t p>() __attribute__((always_inline)) {
        constexpr std::size_t column = s * Weights::kParts + p;
        const __m256 low = Weights::template part<p, 0>(cells);
        const __m256 high = Weights::template part<p, 1>(cells);
        repeat<rows>([&]<std::size_t b>() __attribute__((always_inline)) {
          const __m256 factor = _mm256_broadcast_ss(x + b * kBlockColumns + column);
          sums.template add<0>(column, b, low, factor);
          sums.template add<1>(column, b, high, factor);
        });
      });
    });
  }
  sums.store(out, Weights::kScale);
}

// Adds the products of a chunk of columns, widened, with four rows of activations to their sums.
inline void add_chunk(const float* columns, const float* x, std::size_t stride,
                      float* out) noexcept {
  Sums<kMostRows> sums;
  repeat<kMostRows>([&]<std::size_t b>() __attribute__((always_inline)) {
    sums.of[0][b][0] = _mm256_load_ps(out + b * kPanelRows);
    sums.of[0][b][1] = _mm256_load_ps(out + b * kPanelRows + kHalfLanes);
  });
  for (std::size_t block = 0; block < kChunkBlocks; ++block, x += stride) {
#pragma GCC unroll 4
    for (std::size_t column = 0; column < kBlockColumns; ++column, columns += kPanelRows) {
      const __m256 low = _mm256_loadu_ps(columns), high = _mm256_loadu_ps(columns + kHalfLanes);
      repeat<kMostRows>([&]<std::size_t b>() __attribute__((always_inline)) {
        const __m256 factor = _mm256_broadcast_ss(x + b * kBlockColumns + column);
        sums.template add<0>(0, b, low, factor);
        sums.template add<1>(0, b, high, factor);
      });
    }
  }
  sums.store(out, 1);
}

// Many rows of activations: a chunk of columns is widened once, into the L1 cache, and every four
// rows pass over it.
template <template <class> class Registers, class Weights>
void many_rows(const PanelShape& shape, const std::uint8_t* panel, const float* x,
               float* out) noexcept {
  constexpr std::size_t kChunkColumns = kChunkBlocks * kBlockColumns;
  Registers<Weights> registers(shape, panel);
  alignas(32) float columns[kChunkColumns * kPanelRows];
  alignas(32) float sums[kMostBatch * kPanelRows] = {};
  const std::size_t stride = shape.batch * kBlockColumns;
  for (std::size_t chunk = 0; chunk < shape.blocks / kChunkBlocks; ++chunk) {
    float* to = columns;
    for (std::size_t block = 0; block < kChunkBlocks; ++block) {
      for (std::size_t s = 0; s < kBlockColumns / Weights::kParts; ++s) {
        const typename Weights::Cells cells = registers.next(s);
        repeat<Weights::kParts>([&]<std::size_t p>() __attribute__((always_inline)) {
          _mm256_store_ps(to, Weights::template part<p, 0>(cells));
          _mm256_store_ps(to + kHalfLanes, Weights::template part<p, 1>(cells));
          to += kPanelRows;
        });
      }
    }
    for (std::size_t b = 0; b < shape.batch; b += kMostRows) {
      add_chunk(columns, x + b * kBlockColumns, stride, sums + b * kPanelRows);
    }
    x += kChunkBlocks * stride;
  }
  for (std::size_t i = 0; i < shape.batch * kPanelRows; ++i) out[i] = sums[i] * Weights::kScale;
}

template <template <class> class Registers, class Weights>
void product_of(const PanelShape& shape, const std::uint8_t* panel, const void* x,
                void* sums) noexcept {
  const auto* rows = static_cast<const float*>(x);
  auto* out = static_cast<float*>(sums);
  switch (shape.batch) {
    case 1:
      return few_rows<Registers, Weights, 1>(shape, panel, rows, out);
    case 2:
      return few_rows<Registers, Weights, 2>(shape, panel, rows, out);
    case 4:
      return few_rows<Registers, Weights, 4>(shape, panel, rows, out);
    default:
      return many_rows<Registers, Weights>(shape, panel, rows, out);
  }
}

}  // namespace
}  // namespace prunepack::avx2
