// Benchmarks of whole-tensor operations, on one thread and two.
#include <array>
#include <string>

#include "contest.h"
#include "prunepack/masks.h"
#include "prunepack/pack.h"

namespace prunepack::bench {
namespace {

constexpr std::size_t kColumns = 4096;

// One width each; half precision and bfloat16 differ only where values are summed.
constexpr Dtype kDtypesOfMasks[] = {Dtype::float32, Dtype::bfloat16, Dtype::int8};

SharedBuffer room(std::size_t bytes) { return std::make_shared<Buffer>(bytes); }
SharedBuffer mask_room(std::size_t count) { return room(count / 8); }

Weights matrix(const Buffer& weights, Dtype dtype, std::size_t count,
               std::size_t columns = kColumns) {
  return {weights.data(), dtype, count / columns, columns};
}

using Make = std::function<Problem(Dtype dtype, std::size_t count)>;

void add_dtype(const std::string& operation, Dtype dtype, Reference reference, const Make& make) {
  for (const std::size_t bytes : sizes()) {
    add_operation({text(operation, "_", name(dtype)), bytes, reference,
                   [=] { return make(dtype, bytes / width(dtype)); }},
                  usable_tables());
  }
}

void add_all(const std::string& operation, Reference reference, const Make& make) {
  for (const Dtype dtype : kDtypesOfMasks) add_dtype(operation, dtype, reference, make);
}

// Anything that makes a mask from weights: choose(kernels, weights, mask, threads).
using Choose = std::function<void(const Kernels& kernels, const Weights& weights,
                                  std::uint8_t* mask, unsigned threads)>;

Problem mask_problem(Dtype dtype, std::size_t count, Input input, std::size_t columns,
                     const Choose& choose) {
  const SharedBuffer weights = make_weights(dtype, count, input), mask = mask_room(count);
  return {[=](const Kernels& kernels, unsigned threads) {
            choose(kernels, matrix(*weights, dtype, count, columns), mask->data(), threads);
          },
          weights,
          {mask}};
}

Problem across_problem(Dtype dtype, std::size_t count, std::size_t columns, Lines lines,
                       std::array<std::size_t, 2> nm) {
  const SharedBuffer weights = make_weights(dtype, count),
                     mask = room(count / columns * row_bytes(columns));
  return {[=](const Kernels& kernels, unsigned threads) {
            nm_mask(kernels, matrix(*weights, dtype, count, columns), lines, nm[0], nm[1],
                    mask->data(), threads);
          },
          weights,
          {mask}};
}

void add_nm_masks() {
  constexpr std::array<std::size_t, 2> patterns[] = {{2, 4},    {3, 4},     {4, 8},     {7, 8},
                                                     {8, 16},   {14, 16},   {16, 32},   {32, 64},
                                                     {64, 128}, {128, 256}, {512, 1024}};
  for (const auto& nm : patterns) {
    add_all(text("nm_mask_", nm[0], ":", nm[1]), Reference::read,
            [=](Dtype dtype, std::size_t count) {
              return mask_problem(dtype, count, {}, kColumns,
                                  [=](const Kernels& kernels, const Weights& weights,
                                      std::uint8_t* mask, unsigned threads) {
                                    nm_mask(kernels, weights, {weights.rows, weights.columns, 1},
                                            nm[0], nm[1], mask, threads);
                                  });
            });
  }
  // Groups down the columns, and along the input channels of 3 x 3 convolutions.
  constexpr std::array<std::size_t, 2> few_patterns[] = {{2, 4}, {14, 16}};
  for (const auto& nm : few_patterns) {
    const std::string operation = text("nm_mask_", nm[0], ":", nm[1]);
    add_all(operation + "_axis0", Reference::read, [=](Dtype dtype, std::size_t count) {
      return across_problem(dtype, count, kColumns, {1, count / kColumns, kColumns}, nm);
    });
    add_all(operation + "_3x3", Reference::read, [=](Dtype dtype, std::size_t count) {
      constexpr std::size_t kPlaces = 9, kChannels = 256, kFilter = kPlaces * kChannels;
      return across_problem(dtype, count / kFilter * kFilter, 3,
                            {count / kFilter, kChannels, kPlaces}, nm);
    });
  }
}

Problem smallest_problem(Dtype dtype, std::size_t count, Input input, double sparsity) {
  return mask_problem(
      dtype, count, input, kColumns,
      [=](const Kernels& kernels, const Weights& weights, std::uint8_t* mask, unsigned threads) {
        const auto pruned = static_cast<std::size_t>(sparsity * static_cast<double>(count));
        smallest_mask(kernels, weights, 1, pruned, mask, threads);
      });
}

Problem row_problem(Dtype dtype, std::size_t count, std::size_t columns) {
  return mask_problem(
      dtype, count, {}, columns,
      [](const Kernels& kernels, const Weights& weights, std::uint8_t* mask, unsigned threads) {
        smallest_mask(kernels, weights, weights.rows, weights.columns / 2, mask, threads);
      });
}

void add_smallest_masks() {
  for (const int percent : {50, 90}) {
    add_all(text("smallest_mask_", percent, "%"), Reference::read,
            [=](Dtype dtype, std::size_t count) {
              return smallest_problem(dtype, count, {}, percent / 100.0);
            });
  }
  for (const Kind kind :
       {Kind::constant, Kind::two_values, Kind::sorted, Kind::nan, Kind::quantised}) {
    for (const Dtype dtype : kDtypesOfMasks) {
      if (kind == Kind::nan && !has_nan(dtype)) continue;
      add_dtype(
          text("smallest_mask_50%_", name(kind)), dtype, Reference::read,
          [=](Dtype of, std::size_t count) { return smallest_problem(of, count, {kind}, 0.5); });
    }
  }
  // Pruned at 90 % already, and again: zeros by the million, and where they end is where to cut.
  add_all("smallest_mask_90%_again", Reference::read, [](Dtype dtype, std::size_t count) {
    return smallest_problem(dtype, count, {Kind::sparse, 0.9}, 0.9);
  });
  for (const std::size_t columns : {std::size_t{4096}, std::size_t{32768}}) {
    add_all(text("smallest_mask_50%_rows_of_", columns), Reference::read,
            [=](Dtype dtype, std::size_t count) { return row_problem(dtype, count, columns); });
  }
}

Problem threshold_problem(Dtype dtype, std::size_t count) {
  const SharedBuffer weights = make_weights(dtype, count), mask = mask_room(count);
  const std::uint64_t key = key_at(dtype, *weights, 0.5);
  return {[=](const Kernels& kernels, unsigned threads) {
            above_mask(kernels, matrix(*weights, dtype, count), key, mask->data(), threads);
          },
          weights,
          {mask}};
}

Problem block_problem(Dtype dtype, std::size_t count, std::array<std::size_t, 2> tile) {
  return mask_problem(
      dtype, count, {}, kColumns,
      [=](const Kernels& kernels, const Weights& weights, std::uint8_t* mask, unsigned threads) {
        const std::array<std::size_t, 2> shape{weights.rows, weights.columns};
        const std::size_t tiles = count / (tile[0] * tile[1]);
        block_mask(kernels, weights, shape, tile, Norm::l2, tiles / 2, mask, threads);
      });
}

void add_block_masks() {
  constexpr std::array<std::size_t, 2> tiles[] = {{4, 1}, {16, 1}, {1, 4}, {1, 16}, {4, 4}};
  for (const auto tile : tiles) {
    const std::string operation = text("block_mask_", tile[0], "x", tile[1]);
    for (const Dtype dtype : {Dtype::float32, Dtype::bfloat16, Dtype::float16, Dtype::int8}) {
      add_dtype(operation, dtype, Reference::read,
                [=](Dtype of, std::size_t count) { return block_problem(of, count, tile); });
    }
  }
}

Problem pack_problem(Dtype dtype, std::size_t count, Input input, const SharedBuffer& given) {
  const SharedBuffer weights = make_weights(dtype, count, input), mask = mask_room(count),
                     values = room(count * width(dtype));
  const auto kept = std::make_shared<std::size_t>();
  return {.run =
              [=](const Kernels& kernels, unsigned threads) {
                *kept =
                    pack(kernels, matrix(*weights, dtype, count), given ? given->data() : nullptr,
                         mask->data(), values->data(), threads);
              },
          .dense = weights,
          .outputs = {mask, values},
          .results =
              [=] {
                using Bytes = std::span<const std::uint8_t>;
                return std::vector<Bytes>{{mask->data(), mask->bytes()},
                                          {values->data(), *kept * width(dtype)}};
              }};
}

Problem unpack_problem(Dtype dtype, std::size_t count, double zeros) {
  const SharedBuffer dense = make_weights(dtype, count, {Kind::sparse, zeros}),
                     mask = mask_room(count), values = room(count * width(dtype));
  const Weights weights = matrix(*dense, dtype, count);
  const std::size_t kept =
      pack(*kernels_for(Isa::scalar), weights, nullptr, mask->data(), values->data(), 1);
  return {[=](const Kernels& kernels, unsigned threads) {
            unpack(kernels, mask->data(), values->data(), kept, dtype, count / kColumns, kColumns,
                   dense->data(), threads);
          },
          dense,
          {dense}};
}

Problem apply_problem(Dtype dtype, std::size_t count, bool in_place) {
  const SharedBuffer weights = make_weights(dtype, count), mask = make_mask(count, 0.5),
                     out = in_place ? weights : room(count * width(dtype));
  return {[=](const Kernels& kernels, unsigned threads) {
            apply_mask(kernels, matrix(*weights, dtype, count), mask->data(), out->data(), threads);
          },
          weights,
          {out}};
}

void add_packing() {
  for (const int percent : {50, 70, 90}) {
    const std::string sparsity = text("_", percent, "%");
    add_all("pack" + sparsity, Reference::copy, [=](Dtype dtype, std::size_t count) {
      return pack_problem(dtype, count, {Kind::sparse, percent / 100.0}, nullptr);
    });
    add_all("unpack" + sparsity, Reference::copy, [=](Dtype dtype, std::size_t count) {
      return unpack_problem(dtype, count, percent / 100.0);
    });
  }
  add_all("pack_given_50%", Reference::copy, [](Dtype dtype, std::size_t count) {
    return pack_problem(dtype, count, {}, make_mask(count, 0.5));
  });
  add_all("apply_mask", Reference::copy,
          [](Dtype dtype, std::size_t count) { return apply_problem(dtype, count, false); });
  add_all("apply_mask_in_place", Reference::copy,
          [](Dtype dtype, std::size_t count) { return apply_problem(dtype, count, true); });
}

}  // namespace

void add_operations() {
  add_nm_masks();
  add_smallest_masks();
  add_all("above_mask", Reference::read, threshold_problem);
  add_block_masks();
  add_packing();
}

}  // namespace prunepack::bench
