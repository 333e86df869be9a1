#include "matrices.h"

#include <cmath>

#include "kernels/value.h"
#include "prunepack/masks.h"

namespace prunepack::check {
namespace {

template <Dtype dtype>
double number_of(const void* weights, std::size_t i) {
  const auto* bytes = static_cast<const std::uint8_t*>(weights);
  const bool negative = dtype != Dtype::uint8 && bytes[(i + 1) * width(dtype) - 1] >> 7;
  return std::copysign(magnitude<dtype>(weights, i), negative ? -1.0 : 1.0);
}

constexpr PerDtype<double (*)(const void*, std::size_t)> kNumberOf = PRUNEPACK_PER_VALUE(number_of);

// A number that is the same for all the calls with the same arguments, and looks random.
std::size_t scrambled(std::size_t a, std::size_t b) {
  return static_cast<std::size_t>(Random(a * 0x10001 + b).bits() >> 20);
}

bool some(Random& random, std::size_t in_16, std::size_t, std::size_t) {
  return random.below(16) < in_16;
}

bool few(Random& random, std::size_t in_1000, std::size_t, std::size_t) {
  return random.below(1000) < in_1000;
}

// Rows from empty to dense.
bool uneven(Random& random, std::size_t, std::size_t row, std::size_t) {
  return random.below(15) < row % 16;
}

// Exactly `kept` of every `group`, at places that differ from group to group.
template <std::size_t group>
bool nm(Random&, std::size_t kept, std::size_t row, std::size_t column) {
  const std::size_t turn = scrambled(row, column / group),
                    step = turn / group % (group / 2) * 2 + 1;
  return (column * step + turn) % group < kept;
}

// Half of the tiles of 16 / breadth rows and `breadth` columns.
bool tiles(Random&, std::size_t breadth, std::size_t row, std::size_t column) {
  return scrambled(row / (16 / breadth), column / breadth) % 2 == 0;
}

// Nothing but the very last row's last elements.
bool corner(Random&, std::size_t least_row, std::size_t row, std::size_t column) {
  return row >= least_row && column % 64 == 63;
}

constexpr Pattern kAll[] = {
    {"half", 8, some},        {"uneven", 0, uneven},      {"dense", 16, some},
    {"few", 60, few},         {"2 of 4", 2, nm<4>},       {"2 of 16", 2, nm<16>},
    {"tiles of 4", 4, tiles}, {"empty", 0, some},         {"1 of 4", 1, nm<4>},
    {"3 of 4", 3, nm<4>},     {"1 of 16", 1, nm<16>},     {"5 of 16", 5, nm<16>},
    {"12 of 16", 12, nm<16>}, {"tiles of 1", 1, tiles},   {"tiles of 2", 2, tiles},
    {"tiles of 8", 8, tiles}, {"tiles of 16", 16, tiles}, {"very few", 5, few},
    {"corners", 3, corner},   {"most", 14, some},
};

}  // namespace

const std::span<const Pattern> kPatterns = kAll;

double number_at(Dtype dtype, const void* weights, std::size_t i) {
  return kNumberOf[dtype](weights, i);
}

Matrix::Matrix(Dtype dtype, std::size_t rows, std::size_t columns, const Pattern& pattern,
               const Distribution& distribution, std::uint64_t seed)
    : dtype_(dtype),
      rows_(rows),
      columns_(columns),
      mask_(rows * row_bytes(columns)),
      numbers_(rows * columns) {
  Random random(seed);
  const std::size_t bytes = width(dtype);
  std::vector<std::uint8_t> weights(rows * columns * bytes);
  distribution.fill(random, dtype, weights.data(), rows * columns);
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t column = 0; column < columns; ++column) {
      if (!pattern.keeps(random, pattern.parameter, row, column)) continue;
      std::uint8_t& byte = mask_[row * row_bytes(columns) + column / 8];
      byte = static_cast<std::uint8_t>(byte | 1u << column % 8);
      const std::size_t i = row * columns + column;
      values_.insert(values_.end(), weights.begin() + static_cast<std::ptrdiff_t>(i * bytes),
                     weights.begin() + static_cast<std::ptrdiff_t>((i + 1) * bytes));
      numbers_[i] = number_at(dtype, weights.data(), i);
    }
  }
}

bool Matrix::keeps(std::size_t row, std::size_t column) const {
  return row < rows_ && (mask_[row * row_bytes(columns_) + column / 8] >> column % 8 & 1) != 0;
}

}  // namespace prunepack::check
