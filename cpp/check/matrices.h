// Packed matrices for the check of panels: patterns of every kind that a layout is made for, and
// the numbers that elements stand for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "prunepack/linear.h"
#include "weights.h"

namespace prunepack::check {

struct Pattern {
  const char* name;
  std::size_t parameter;
  bool (*keeps)(Random& random, std::size_t parameter, std::size_t row, std::size_t column);
};
extern const std::span<const Pattern> kPatterns;

// A matrix, packed and not.
class Matrix {
 public:
  Matrix(Dtype dtype, std::size_t rows, std::size_t columns, const Pattern& pattern,
         const Distribution& distribution, std::uint64_t seed);

  PackedMatrix packed() const { return {mask_.data(), values_.data(), dtype_, rows_, columns_}; }
  std::size_t rows() const { return rows_; }
  std::size_t columns() const { return columns_; }
  Dtype dtype() const { return dtype_; }

  // 0 where nothing is kept, and beyond the last row.
  double at(std::size_t row, std::size_t column) const {
    return row < rows_ ? numbers_[row * columns_ + column] : 0;
  }
  bool keeps(std::size_t row, std::size_t column) const;

 private:
  Dtype dtype_;
  std::size_t rows_, columns_;
  std::vector<std::uint8_t> mask_, values_;
  std::vector<double> numbers_;
};

// The number that element i of `weights` stands for.
double number_at(Dtype dtype, const void* weights, std::size_t i);

}  // namespace prunepack::check
