// What the panel kernels of all ISAs share: numbers read from a stream, arguments that become
// constants, and sweeps for a few rows of activations. In an unnamed namespace; key.h says why.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "prunepack/panels.h"

namespace prunepack {
namespace {

// The i-th of the numbers that begin at `from`, which need not be aligned.
template <class Number>
inline Number number_at(const std::uint8_t* from, std::size_t i = 0) noexcept {
  Number number;
  std::memcpy(&number, from + i * sizeof number, sizeof number);
  return number;
}

// A number that a template can take from an argument.
template <std::size_t number>
struct Constant {
  static constexpr std::size_t value = number;
};

// Calls run with a batch of kBatches, or with the breadth of a tile, as a Constant.
template <class Run>
inline void as_constant(std::size_t number, const Run& run) noexcept {
  switch (number) {
    case 1:
      return run(Constant<1>{});
    case 2:
      return run(Constant<2>{});
    case 4:
      return run(Constant<4>{});
    case 8:
      return run(Constant<8>{});
    default:
      return run(Constant<16>{});
  }
}

// The most rows of activations whose sums stay in registers, where there are 16 or 32 narrow ones.
inline constexpr std::size_t kMostRows = 4;

// A product of a layout, in sweeps over the panel for as many rows of activations as there are
// registers for: Sweep::run<Weights, rows>(shape, panel, x, sums).
template <class Sweep, class Weights>
inline void in_sweeps(const PanelShape& shape, const std::uint8_t* panel, const void* x,
                      void* sums) noexcept {
  const auto* rows = static_cast<const float*>(x);
  auto* out = static_cast<float*>(sums);
  if (shape.batch == 1) return Sweep::template run<Weights, 1>(shape, panel, rows, out);
  if (shape.batch == 2) return Sweep::template run<Weights, 2>(shape, panel, rows, out);
  for (std::size_t b = 0; b < shape.batch; b += kMostRows) {
    Sweep::template run<Weights, kMostRows>(shape, panel, rows + b * kBlockColumns,
                                            out + b * kPanelRows);
  }
}

// Adds up every `breadth` neighbouring lanes of each row of activations: the sums of a band of
// tiles.
template <std::size_t breadth, std::size_t rows>
inline void fold_band(const float (&lanes)[rows * kPanelRows], float* out) noexcept {
  for (std::size_t b = 0; b < rows; ++b) {
    for (std::size_t row = 0; row < kPanelRows / breadth; ++row) {
      float sum = 0;
      for (std::size_t i = 0; i < breadth; ++i) sum += lanes[b * kPanelRows + row * breadth + i];
      out[b * kPanelRows + row] = sum;
    }
  }
}

}  // namespace
}  // namespace prunepack
