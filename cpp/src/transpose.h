// Transposition of small float32 matrices that lie in a cache.
#pragma once

#include <cstddef>
#include <cstring>

namespace prunepack {

using FourFloats [[gnu::vector_size(16)]] = float;

inline FourFloats four_floats(const float* from) {
  FourFloats four;
  std::memcpy(&four, from, sizeof four);
  return four;
}

// out[c * out_stride + r] = in[r * in_stride + c], for four rows and four columns.
inline void transpose_four(const float* in, std::size_t in_stride, float* out,
                           std::size_t out_stride) {
  const FourFloats a = four_floats(in), b = four_floats(in + in_stride);
  const FourFloats c = four_floats(in + 2 * in_stride), d = four_floats(in + 3 * in_stride);
  const FourFloats ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  const FourFloats ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const FourFloats cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const FourFloats cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  const FourFloats columns[] = {__builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5),
                                __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
                                __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5),
                                __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)};
  for (std::size_t i = 0; i < 4; ++i) std::memcpy(out + i * out_stride, &columns[i], 16);
}

// The same for any number of rows and columns.
inline void transpose(const float* in, std::size_t in_stride, std::size_t rows, std::size_t columns,
                      float* out, std::size_t out_stride) {
  const std::size_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
  const auto one_by_one = [&](std::size_t row, std::size_t first_column) {
    for (std::size_t c = first_column; c < columns; ++c) {
      out[c * out_stride + row] = in[row * in_stride + c];
    }
  };
  for (std::size_t r = 0; r < whole_rows; r += 4) {
    for (std::size_t c = 0; c < whole_columns; c += 4) {
      transpose_four(in + r * in_stride + c, in_stride, out + c * out_stride + r, out_stride);
    }
    for (std::size_t row = r; row < r + 4; ++row) one_by_one(row, whole_columns);
  }
  for (std::size_t row = whole_rows; row < rows; ++row) one_by_one(row, 0);
}

}  // namespace prunepack
