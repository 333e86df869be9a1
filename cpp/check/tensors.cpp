// Whole-tensor operations: the same bytes with every table and any number of threads.
#include <algorithm>
#include <functional>
#include <numeric>
#include <span>
#include <string_view>
#include <vector>

#include "check.h"
#include "memory.h"
#include "prunepack/masks.h"
#include "prunepack/pack.h"
#include "weights.h"

namespace prunepack::check {
namespace {

using Shape = std::vector<std::size_t>;
using Bytes = std::vector<std::uint8_t>;

std::size_t product(const Shape& shape, std::size_t first, std::size_t last) {
  return std::accumulate(shape.begin() + static_cast<std::ptrdiff_t>(first),
                         shape.begin() + static_cast<std::ptrdiff_t>(last), std::size_t{1},
                         std::multiplies<>());
}

struct Tensor {
  const char* distribution;
  Dtype dtype;
  Shape shape;
  Bytes data;

  std::size_t columns() const { return shape.back(); }
  std::size_t rows() const { return product(shape, 0, shape.size() - 1); }
  std::size_t count() const { return rows() * columns(); }
  std::size_t mask_bytes() const { return rows() * row_bytes(columns()); }
  bool is_large() const { return count() >= 100'000; }
  Weights weights() const { return {data.data(), dtype, rows(), columns()}; }
};

Tensor tensor_of(Dtype dtype, const Shape& shape, const Distribution& distribution) {
  Tensor tensor{distribution.name, dtype, shape, {}};
  tensor.data.resize(tensor.count() * width(dtype));
  Random random(tensor.count());
  distribution.fill(random, dtype, tensor.data.data(), tensor.count());
  return tensor;
}

// Some mask for the tensor, with its padding bits 0.
Bytes mask_of(const Tensor& tensor) {
  Bytes mask(tensor.mask_bytes());
  const auto seventh =
      key_at(tensor.dtype, tensor.data.data(), std::min<std::size_t>(6, tensor.count() - 1));
  above_mask(*kernels_for(Isa::scalar), tensor.weights(), seventh, mask.data(), 1);
  return mask;
}

class Comparison {
 public:
  Comparison(const Kernels& tested, Report& report) : tested_(tested), report_(report) {}

  // `operation(kernels, threads, result)` fills `result`, which starts out with other bytes.
  template <class Operation>
  void operator()(const Tensor& tensor, std::array<Parameter, 3> parameters, std::size_t bytes,
                  const Operation& operation) {
    Bytes expected(bytes, 0xa5);
    operation(*kernels_for(Isa::scalar), 1, expected);
    gives(expected, tensor, parameters, bytes, operation);
  }

  // For what is known without any table.
  template <class Operation>
  void gives(const Bytes& expected, const Tensor& tensor, std::array<Parameter, 3> parameters,
             std::size_t bytes, const Operation& operation) {
    for (const unsigned threads : {1u, 2u, 5u}) {
      Bytes actual(bytes, 0xa5);
      operation(tested_, threads, actual);
      report_.compare(
          {tensor.dtype,
           tensor.distribution,
           {{{"count", tensor.count()},
             {"threads", threads},
             parameters[0],
             parameters[1],
             parameters[2]}}},
          [] {}, [&] { return actual == expected; });
    }
  }

  // For what may give any result, but must not go beyond the memory it was given.
  template <class Operation>
  void never_faults(const Tensor& tensor, const Operation& operation) {
    for (const unsigned threads : {1u, 5u}) {
      report_.compare(
          {tensor.dtype, tensor.distribution, {{{"threads", threads}}}},
          [&] { operation(tested_, threads); }, [] { return true; });
    }
  }

 private:
  const Kernels& tested_;
  Report& report_;
};

constexpr struct {
  std::size_t n, m;
} kPatterns[] = {{3, 4}, {3, 7}, {2, 4}, {14, 16}, {50, 64}, {200, 300}};

void nm_masks(const Tensor& tensor, Comparison& compare) {
  for (std::size_t axis = 0; axis < tensor.shape.size(); ++axis) {
    const Lines lines{product(tensor.shape, 0, axis), tensor.shape[axis],
                      product(tensor.shape, axis + 1, tensor.shape.size())};
    const std::span patterns(kPatterns);
    for (const auto& pattern : patterns) {
      if (tensor.is_large() && pattern.m > 7 && pattern.m < 300) continue;
      compare(tensor, {{{"axis", axis}, {"n", pattern.n}, {"m", pattern.m}}}, tensor.mask_bytes(),
              [&](const Kernels& kernels, unsigned threads, Bytes& mask) {
                nm_mask(kernels, tensor.weights(), lines, pattern.n, pattern.m, mask.data(),
                        threads);
              });
    }
  }
}

void smallest_masks(const Tensor& tensor, Comparison& compare) {
  for (const std::size_t populations : {std::size_t{1}, tensor.shape[0]}) {
    const std::size_t size = tensor.count() / populations;
    for (const std::size_t pruned :
         {std::size_t{0}, std::min<std::size_t>(size, 1), size / 2, size - size / 4, size}) {
      compare(tensor, {{{"populations", populations}, {"pruned", pruned}}}, tensor.mask_bytes(),
              [&](const Kernels& kernels, unsigned threads, Bytes& mask) {
                smallest_mask(kernels, tensor.weights(), populations, pruned, mask.data(), threads);
              });
    }
  }
}

// Of equal weights the last ones are kept. A cut among them is searched from both ends.
void masks_of_equal_weights(const Tensor& tensor, Comparison& compare) {
  if (tensor.distribution != std::string_view("constant")) return;
  for (const std::size_t populations : {std::size_t{1}, tensor.shape[0]}) {
    const std::size_t size = tensor.count() / populations;
    for (const std::size_t pruned : {size / 3, size - size / 10'000}) {
      Bytes last(tensor.mask_bytes());
      for (std::size_t i = 0; i < tensor.count(); ++i) {
        const std::size_t row = i / tensor.columns(), column = i % tensor.columns();
        const unsigned bit = i % size >= pruned ? 1u << column % 8 : 0;
        std::uint8_t& byte = last[row * row_bytes(tensor.columns()) + column / 8];
        byte = static_cast<std::uint8_t>(byte | bit);
      }
      compare.gives(last, tensor, {{{"populations", populations}, {"pruned", pruned}}}, last.size(),
                    [&](const Kernels& kernels, unsigned threads, Bytes& mask) {
                      smallest_mask(kernels, tensor.weights(), populations, pruned, mask.data(),
                                    threads);
                    });
    }
  }
}

void above_masks(const Tensor& tensor, Comparison& compare) {
  const std::uint64_t key = key_at(tensor.dtype, tensor.data.data(), tensor.count() / 2);
  compare(tensor, {{{"key", key}}}, tensor.mask_bytes(),
          [&](const Kernels& kernels, unsigned threads, Bytes& mask) {
            const std::size_t kept =
                above_mask(kernels, tensor.weights(), key, mask.data(), threads);
            mask.push_back(static_cast<std::uint8_t>(kept % 251));
          });
}

void block_masks(const Tensor& tensor, Comparison& compare) {
  const std::size_t rank = tensor.shape.size();
  for (const Shape& leading :
       {Shape{4}, Shape{1, 4}, Shape{4, 4}, Shape{1, 1u << 30}, Shape{3, 8}}) {
    Shape tile = leading;
    tile.resize(rank, 1);
    for (std::size_t i = 0; i < rank; ++i) tile[i] = std::min(tile[i], tensor.shape[i]);
    std::size_t tiles = 1;
    for (std::size_t i = 0; i < rank; ++i) tiles *= (tensor.shape[i] + tile[i] - 1) / tile[i];
    for (const Norm norm : {Norm::l1, Norm::l2, Norm::max}) {
      compare(tensor,
              {{{"tile", tile[0]},
                {"by", rank > 1 ? tile[1] : 1},
                {"norm", static_cast<std::size_t>(norm)}}},
              tensor.mask_bytes(), [&](const Kernels& kernels, unsigned threads, Bytes& mask) {
                block_mask(kernels, tensor.weights(), tensor.shape, tile, norm, tiles / 2,
                           mask.data(), threads);
              });
    }
  }
}

void packs(const Tensor& tensor, Comparison& compare) {
  const Bytes given = mask_of(tensor);
  for (const bool with_mask : {false, true}) {
    compare(tensor, {{{"with a mask", with_mask}}}, tensor.data.size(),
            [&](const Kernels& kernels, unsigned threads, Bytes& values) {
              Bytes mask(tensor.mask_bytes(), 0xa5);
              const std::size_t kept =
                  pack(kernels, tensor.weights(), with_mask ? given.data() : nullptr, mask.data(),
                       values.data(), threads);
              values.resize(kept * width(tensor.dtype));
              values.insert(values.end(), mask.begin(), mask.end());
            });
  }
}

void unpacks(const Tensor& tensor, Comparison& compare) {
  const Bytes mask = mask_of(tensor);
  const std::size_t kept = kernels_for(Isa::scalar)->count_bits(mask.data(), mask.size());
  compare(tensor, {}, tensor.data.size(),
          [&](const Kernels& kernels, unsigned threads, Bytes& weights) {
            unpack(kernels, mask.data(), tensor.data.data(), kept, tensor.dtype, tensor.rows(),
                   tensor.columns(), weights.data(), threads);
          });
}

// Masks with more bits set than there are values: others may write to them once they are checked.
// Where the values of a later chunk would be is as far beyond those that there are.
void unpacks_of_changed_masks(const Tensor& tensor, Comparison& compare) {
  const Bytes mask = mask_of(tensor);
  const std::size_t kept = kernels_for(Isa::scalar)->count_bits(mask.data(), mask.size()) / 2;
  const Guarded values(std::max<std::size_t>(kept, 1) * width(tensor.dtype), tensor.data.size());
  Bytes weights(tensor.data.size());
  compare.never_faults(tensor, [&](const Kernels& kernels, unsigned threads) {
    unpack(kernels, mask.data(), values.tail(kept * width(tensor.dtype)), kept, tensor.dtype,
           tensor.rows(), tensor.columns(), weights.data(), threads);
  });
}

void applied_masks(const Tensor& tensor, Comparison& compare) {
  const Bytes mask = mask_of(tensor);
  for (const bool in_place : {false, true}) {
    compare(tensor, {{{"in place", in_place}}}, tensor.data.size(),
            [&](const Kernels& kernels, unsigned threads, Bytes& out) {
              if (in_place) out = tensor.data;
              Weights weights = tensor.weights();
              if (in_place) weights.data = out.data();
              apply_mask(kernels, weights, mask.data(), out.data(), threads);
            });
  }
}

void row_counts(const Tensor& tensor, Comparison& compare) {
  const Bytes mask = mask_of(tensor);
  compare(tensor, {}, tensor.rows() * sizeof(std::int64_t),
          [&](const Kernels& kernels, unsigned, Bytes& counts) {
            count_rows(kernels, mask.data(), tensor.rows(), row_bytes(tensor.columns()),
                       reinterpret_cast<std::int64_t*>(counts.data()));
          });
}

constexpr struct {
  const char* name;
  void (*check)(const Tensor&, Comparison&);
} kOperations[] = {
    {"nm masks", nm_masks},
    {"smallest masks", smallest_masks},
    {"equal weights", masks_of_equal_weights},
    {"above masks", above_masks},
    {"block masks", block_masks},
    {"pack", packs},
    {"unpack", unpacks},
    {"changed masks", unpacks_of_changed_masks},
    {"apply masks", applied_masks},
    {"count rows", row_counts},
};

// One dtype of each width, and the two that are not floats.
constexpr Dtype kTried[] = {Dtype::float8_e5m2, Dtype::int8,    Dtype::uint8,
                            Dtype::bfloat16,    Dtype::float32, Dtype::float64};

// Columns that are no whole bytes of mask, axes that are not the last, tiles that do not fit; and
// some that keep five threads busy.
const Shape kSmallShapes[] = {{1},           {9},         {3, 7},     {16, 64},
                              {33, 40},      {5, 129},    {2, 16, 8}, {6, 20, 3, 3},
                              {3, 70, 1, 1}, {9, 4, 120}, {3, 700}};
const Shape kLargeShapes[] = {{1400, 1001}, {20, 70, 999}, {700, 2000}};

std::vector<Tensor> tensors(Effort effort) {
  std::vector<Tensor> all;
  std::size_t turn = 0;
  for (const Dtype dtype : kTried) {
    for (const Shape& shape : kSmallShapes) {
      for (std::size_t i = 0; i < (effort == Effort::quick ? 2 : 5); ++i) {
        all.push_back(tensor_of(dtype, shape, kDistributions[i]));
      }
    }
  }
  for (const Dtype dtype : {Dtype::bfloat16, Dtype::float32, Dtype::int8}) {
    for (const Shape& shape : kLargeShapes) {
      if (effort == Effort::quick && !all.empty() && all.back().is_large()) break;
      all.push_back(tensor_of(dtype, shape, kDistributions[turn++ % kDistributions.size()]));
    }
  }
  // Rows that begin within a byte of mask, and are too long to be ranked as one group.
  for (const Dtype dtype : {Dtype::float32, Dtype::bfloat16, Dtype::int8}) {
    if (effort == Effort::quick && dtype != Dtype::float32) break;
    all.push_back(tensor_of(dtype, {2, 264'001}, distribution_called("constant")));
  }
  return all;
}

}  // namespace

void check_tensors(const Kernels& tested, Effort effort, Report& report) {
  const std::vector<Tensor> all = tensors(effort);
  Comparison compare(tested, report);
  for (const auto& operation : kOperations) {
    report.begin(tested.isa, operation.name);
    for (const Tensor& tensor : all) operation.check(tensor, compare);
    report.end();
  }
}

}  // namespace prunepack::check
