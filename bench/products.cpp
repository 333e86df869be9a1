// Benchmarks of linear layers, on one thread and two: a packed matrix times one row of activations
// and more, against the same product with the dense matrix, and against reading that once, which is
// as fast as any product with it can be.
//
// Weights and activations are small integers, so that sums are exact in any order and the bytes of
// the results can be compared with scalar's.
#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "contest.h"
#include "prunepack/linear.h"
#include "prunepack/masks.h"
#include "prunepack/pack.h"

namespace prunepack::bench {
namespace {

// At most 4096, and so few that a small matrix has rows enough for several panels.
constexpr std::size_t columns_of(std::size_t count) {
  return std::min<std::size_t>(4096, count / 128);
}

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

std::vector<float> integer_activations(std::size_t count) {
  std::vector<float> x(count);
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
                                           {"75%", smallest(0.75)},
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

// A packed matrix, made ready for computing on the ISA that asks for it first: each chooses a
// layout of its own. (It is asked before it is timed.)
class Factor {
 public:
  Factor(SharedBuffer mask, SharedBuffer values, Dtype dtype, std::size_t count,
         std::optional<Layout> layout, Activations activations)
      : mask_(std::move(mask)),
        values_(std::move(values)),
        packed_{mask_->data(), values_->data(), dtype, count / columns_of(count),
                columns_of(count)},
        layout_(layout),
        activations_(activations) {}

  const Prepared& prepared(const Kernels& kernels) {
    if (!prepared_ || isa_ != kernels.isa) {
      prepared_ = prepare(kernels, packed_, layout_, activations_, 2);
      isa_ = kernels.isa;
    }
    return *prepared_;
  }

 private:
  SharedBuffer mask_, values_;
  PackedMatrix packed_;
  std::optional<Layout> layout_;
  Activations activations_;
  std::optional<Prepared> prepared_;
  Isa isa_ = Isa::scalar;
};

Factor pruned(const Choose& choose, const SharedBuffer& weights, Dtype dtype, std::size_t count,
              Activations activations) {
  const Kernels& best = *usable_tables().back();
  const std::size_t columns = columns_of(count), rows = count / columns;
  const SharedBuffer ranks = make_weights(Dtype::float32, count),
                     given = std::make_shared<Buffer>(count / 8),
                     mask = std::make_shared<Buffer>(count / 8),
                     values = std::make_shared<Buffer>(count * width(dtype));
  choose(best, {ranks->data(), Dtype::float32, rows, columns}, given->data());
  pack(best, {weights->data(), dtype, rows, columns}, given->data(), mask->data(), values->data(),
       2);
  return {mask, values, dtype, count, std::nullopt, activations};
}

Factor dense(const SharedBuffer& weights, Dtype dtype, std::size_t count, Activations activations) {
  return {make_mask(count, 0), weights, dtype, count, Layout::dense, activations};
}

Problem product_problem(Dtype dtype, std::size_t count, const Choose& choose, std::size_t batch,
                        Activations activations) {
  const std::size_t columns = columns_of(count), rows = count / columns;
  const SharedBuffer weights = integer_weights(dtype, count),
                     y = std::make_shared<Buffer>(batch * rows * sizeof(float));
  const auto x = std::make_shared<const std::vector<float>>(integer_activations(batch * columns));
  const auto times = [=](const Factor& given, const SharedBuffer& to) -> Run {
    const auto factor = std::make_shared<Factor>(given);
    return [=](const Kernels& kernels, unsigned threads) {
      linear(kernels, factor->prepared(kernels),
             {.x = x->data(),
              .batch = batch,
              .activations = activations,
              .scales = nullptr,
              .bias = nullptr,
              .y = reinterpret_cast<float*>(to->data())},
             threads);
    };
  };
  return {.run = times(pruned(choose, weights, dtype, count, activations), y),
          .dense = weights,
          .outputs = {y},
          .run_dense = times(dense(weights, dtype, count, activations),
                             std::make_shared<Buffer>(y->bytes()))};
}

void add_products(Dtype dtype, const Pattern& pattern, std::size_t batch, Activations activations) {
  const char* const rounded = activations == Activations::float32 ? "" : "_rounded";
  for (const std::size_t bytes : sizes()) {
    add_operation({text("linear_", pattern.name, "_batch", batch, rounded, "_", name(dtype)), bytes,
                   Reference::dense,
                   [=] {
                     return product_problem(dtype, bytes / width(dtype), pattern.choose, batch,
                                            activations);
                   }},
                  usable_tables());
  }
}

}  // namespace

void add_products() {
  constexpr std::size_t kFew[] = {1, 16}, kMany[] = {1, 4, 8, 16, 64, 256};
  for (const Pattern& pattern : patterns()) {
    for (const Dtype dtype : {Dtype::float32, Dtype::bfloat16}) {
      for (const std::size_t batch : kMany) {
        add_products(dtype, pattern, batch, Activations::float32);
      }
    }
    for (const Dtype dtype : {Dtype::float16, Dtype::int8}) {
      for (const std::size_t batch : kFew)
        add_products(dtype, pattern, batch, Activations::float32);
    }
    for (const std::size_t batch : kMany) {
      add_products(Dtype::bfloat16, pattern, batch, Activations::bfloat16);
    }
    add_products(Dtype::int8, pattern, 1, Activations::int8);
  }
}

}  // namespace prunepack::bench
