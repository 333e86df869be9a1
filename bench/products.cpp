// Benchmarks of linear layers, on one thread and two: a packed matrix times one row of activations
// and sixteen, against reading the dense matrix once, which is as fast as a dense product can be.
//
// Weights and activations are small integers, so that sums are exact in any order and the bytes of
// the results can be compared with scalar's.
#include <array>
#include <cstring>
#include <functional>
#include <string>

#include "contest.h"
#include "prunepack/linear.h"
#include "prunepack/masks.h"
#include "prunepack/pack.h"

namespace prunepack::bench {
namespace {

constexpr std::size_t kColumns = 4096;
constexpr Dtype kDtypesOfProducts[] = {Dtype::float32, Dtype::bfloat16, Dtype::float16,
                                       Dtype::int8};

// 1, 2 and 3 in each dtype, lowest byte first.
std::array<std::uint32_t, 3> small_integers(Dtype dtype) {
  switch (dtype) {
    case Dtype::float32:
      return {0x3f800000, 0x40000000, 0x40400000};
    case Dtype::bfloat16:
      return {0x3f80, 0x4000, 0x4040};
    case Dtype::float16:
      return {0x3c00, 0x4000, 0x4200};
    default:
      return {1, 2, 3};
  }
}

SharedBuffer integer_weights(Dtype dtype, std::size_t count) {
  const auto numbers = small_integers(dtype);
  auto buffer = std::make_shared<Buffer>(count * width(dtype));
  for (std::size_t i = 0; i < count; ++i) {
    std::memcpy(buffer->data() + i * width(dtype), &numbers[i * i % 7 % 3], width(dtype));
  }
  return buffer;
}

std::vector<float> integer_activations(std::size_t batch) {
  std::vector<float> x(batch * kColumns);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 5) - 2;
  return x;
}

// Chooses the weights to keep by those of a float32 tensor of the same shape.
using Choose =
    std::function<void(const Kernels& kernels, const Weights& weights, std::uint8_t* mask)>;

struct Pattern {
  const char* name;
  Choose choose;
};

Choose nm(std::size_t n, std::size_t m) {
  return [=](const Kernels& kernels, const Weights& weights, std::uint8_t* mask) {
    nm_mask(kernels, weights, {weights.rows, weights.columns, 1}, n, m, mask, 2);
  };
}

Choose smallest(double sparsity) {
  return [=](const Kernels& kernels, const Weights& weights, std::uint8_t* mask) {
    const auto pruned = static_cast<std::size_t>(sparsity * static_cast<double>(weights.count()));
    smallest_mask(kernels, weights, 1, pruned, mask, 2);
  };
}

Choose block(std::array<std::size_t, 2> tile) {
  return [=](const Kernels& kernels, const Weights& weights, std::uint8_t* mask) {
    const std::array<std::size_t, 2> shape{weights.rows, weights.columns};
    const std::size_t tiles = weights.count() / (tile[0] * tile[1]);
    block_mask(kernels, weights, shape, tile, Norm::l1, tiles * 3 / 4, mask, 2);
  };
}

const std::vector<Pattern>& patterns() {
  static const std::vector<Pattern> all = {{"dense", smallest(0)},
                                           {"50%", smallest(0.5)},
                                           {"70%", smallest(0.7)},
                                           {"90%", smallest(0.9)},
                                           {"95%", smallest(0.95)},
                                           {"2:4", nm(2, 4)},
                                           {"3:4", nm(3, 4)},
                                           {"7:8", nm(7, 8)},
                                           {"14:16", nm(14, 16)},
                                           {"15:16", nm(15, 16)},
                                           {"blocks_16x1", block({16, 1})},
                                           {"blocks_4x4", block({4, 4})},
                                           {"blocks_1x16", block({1, 16})}};
  return all;
}

struct Factors {
  std::vector<float> x;
  Prepared matrix;
  Activations activations;
};

Problem product_problem(Dtype dtype, std::size_t count, const Choose& choose, std::size_t batch,
                        Activations activations) {
  const Kernels& best = *usable_tables().back();
  const std::size_t rows = count / kColumns;
  const SharedBuffer ranks = make_weights(Dtype::float32, count),
                     given = std::make_shared<Buffer>(count / 8),
                     mask = std::make_shared<Buffer>(count / 8),
                     weights = integer_weights(dtype, count),
                     values = std::make_shared<Buffer>(count * width(dtype)),
                     y = std::make_shared<Buffer>(batch * rows * sizeof(float));
  choose(best, {ranks->data(), Dtype::float32, rows, kColumns}, given->data());
  pack(best, {weights->data(), dtype, rows, kColumns}, given->data(), mask->data(), values->data(),
       2);
  const auto factors = std::make_shared<const Factors>(
      Factors{integer_activations(batch),
              prepare(best, {mask->data(), values->data(), dtype, rows, kColumns}, std::nullopt,
                      activations, 2),
              activations});
  return {[=](const Kernels& kernels, unsigned threads) {
            linear(kernels, factors->matrix,
                   {.x = factors->x.data(),
                    .batch = batch,
                    .activations = factors->activations,
                    .scales = nullptr,
                    .bias = nullptr,
                    .y = reinterpret_cast<float*>(y->data())},
                   threads);
          },
          weights,
          {y}};
}

void add_products(Dtype dtype, const Pattern& pattern, std::size_t batch, Activations activations) {
  const char* const rounded = activations == Activations::float32 ? "" : "_rounded";
  for (const std::size_t bytes : sizes()) {
    add_operation({text("linear_", pattern.name, "_batch", batch, rounded, "_", name(dtype)), bytes,
                   Reference::read,
                   [=] {
                     return product_problem(dtype, bytes / width(dtype), pattern.choose, batch,
                                            activations);
                   }},
                  usable_tables());
  }
}

}  // namespace

void add_products() {
  for (const Pattern& pattern : patterns()) {
    for (const Dtype dtype : kDtypesOfProducts) {
      for (const std::size_t batch : {std::size_t{1}, std::size_t{16}}) {
        add_products(dtype, pattern, batch, Activations::float32);
      }
    }
    add_products(Dtype::bfloat16, pattern, 1, Activations::bfloat16);
    add_products(Dtype::int8, pattern, 1, Activations::int8);
  }
}

}  // namespace prunepack::bench
