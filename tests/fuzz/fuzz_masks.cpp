// Arrays, shapes and patterns: the masks that every ISA makes of them must be those of a plain
// model.
#include <algorithm>
#include <functional>
#include <numeric>
#include <vector>

#include "input.h"
#include "kernels/value.h"
#include "prunepack/describe.h"
#include "prunepack/masks.h"

namespace prunepack::fuzz {
namespace {

using Shape = std::vector<std::size_t>;
using Keys = std::vector<std::uint64_t>;

std::size_t product(const Shape& shape, std::size_t first, std::size_t last) {
  return std::accumulate(shape.begin() + static_cast<std::ptrdiff_t>(first),
                         shape.begin() + static_cast<std::ptrdiff_t>(last), std::size_t{1},
                         std::multiplies<>());
}

// Up to four axes, of mostly few elements; now and then enough for what only large tensors need.
Shape shape_from(Input& input) {
  const std::size_t rank = 1 + input.below(4);
  std::size_t room = input.below(16) == 0 ? 300'000 : 4'000;
  Shape shape(rank);
  for (std::size_t i = rank; i-- > 0;) {
    const bool wide = i == 0 || input.below(4) == 0;
    shape[i] = input.up_to(wide ? room : std::min<std::size_t>(room, 70));
    room /= std::max<std::size_t>(shape[i], 1);
  }
  return shape;
}

// An extent or a group: mostly of a sensible size, sometimes absurd.
std::size_t size_from(Input& input, std::size_t sensible) {
  switch (input.below(8)) {
    case 0:
      return 1 + input.below(~std::size_t{0} / 64);
    case 1:
      return 1 + input.below(70'000);
    default:
      return 1 + input.below(std::max<std::size_t>(sensible, 20));
  }
}

struct Tensor {
  Dtype dtype;
  Shape shape;
  Memory data;
  Keys keys;
  unsigned threads;

  explicit Tensor(Input& input)
      : dtype(input.one_of(kAllDtypes)),
        shape(shape_from(input)),
        data(input.weights(dtype, count())),
        threads(1 + static_cast<unsigned>(input.below(3))) {
    for (std::size_t i = 0; i < count(); ++i) keys.push_back(check::key_at(dtype, data.data(), i));
  }
  std::size_t count() const { return product(shape, 0, shape.size()); }
  std::size_t columns() const { return shape.back(); }
  std::size_t rows() const { return product(shape, 0, shape.size() - 1); }
  Weights weights() const { return {data.data(), dtype, rows(), columns()}; }
};

// A mask of one bit an element that knows how the library lays it out.
class Model {
 public:
  explicit Model(const Tensor& tensor, bool kept)
      : columns_(tensor.columns()), kept_(tensor.count(), kept), rows_(tensor.rows()) {}

  void prune(std::size_t i) { kept_[i] = false; }
  void keep(std::size_t i) { kept_[i] = true; }

  // Prunes the `pruned` of these elements with the smallest keys, and of equal ones the first.
  void prune_smallest(std::vector<std::size_t> elements, std::size_t pruned,
                      const std::function<std::uint64_t(std::size_t)>& key) {
    std::stable_sort(elements.begin(), elements.end(),
                     [&](std::size_t a, std::size_t b) { return key(a) < key(b); });
    for (std::size_t i = 0; i < pruned; ++i) prune(elements[i]);
  }

  Memory mask() const {
    Memory mask(rows_ * row_bytes(columns_), 0);
    for (std::size_t i = 0; i < kept_.size(); ++i) {
      if (kept_[i]) set_bit(mask.data(), i / columns_ * 8 * row_bytes(columns_) + i % columns_);
    }
    return mask;
  }

 private:
  std::size_t columns_;
  std::vector<bool> kept_;
  std::size_t rows_;
};

// `make(kernels, mask)` must write the model's mask with every table.
template <class Make>
void compare(const Model& model, const char* what, const Make& make) {
  const Memory expected = model.mask();
  for_isas([&](const Kernels& kernels) {
    Memory mask(expected.size());
    make(kernels, mask.data());
    require(mask == expected, what, kernels);
  });
}

void nm_masks(const Tensor& tensor, Input& input) {
  const std::size_t axis = input.below(tensor.shape.size());
  const Lines lines{product(tensor.shape, 0, axis), tensor.shape[axis],
                    product(tensor.shape, axis + 1, tensor.shape.size())};
  const std::size_t m = size_from(input, lines.length + 2), n = input.up_to(m);
  Model model(tensor, true);
  for (std::size_t line = 0; line < lines.outer * lines.inner; ++line) {
    const std::size_t start = line / lines.inner * lines.length * lines.inner + line % lines.inner;
    for (std::size_t first = 0; first < lines.length; first += std::min(m, lines.length)) {
      const std::size_t here = std::min(m, lines.length - first), padding = m - here;
      std::vector<std::size_t> group;
      for (std::size_t i = 0; i < here; ++i) group.push_back(start + (first + i) * lines.inner);
      model.prune_smallest(group, n > padding ? n - padding : 0,
                           [&](std::size_t i) { return tensor.keys[i]; });
    }
  }
  compare(model, "nm_mask", [&](const Kernels& kernels, std::uint8_t* mask) {
    nm_mask(kernels, tensor.weights(), lines, n, m, mask, tensor.threads);
  });
}

void smallest_masks(const Tensor& tensor, Input& input) {
  std::size_t populations = product(tensor.shape, 0, input.up_to(tensor.shape.size()));
  if (populations == 0) populations = 1;
  const std::size_t size = tensor.count() / populations, pruned = input.up_to(size);
  Model model(tensor, true);
  for (std::size_t first = 0; first < tensor.count(); first += size) {
    std::vector<std::size_t> population(size);
    std::iota(population.begin(), population.end(), first);
    model.prune_smallest(population, pruned, [&](std::size_t i) { return tensor.keys[i]; });
  }
  compare(model, "smallest_mask", [&](const Kernels& kernels, std::uint8_t* mask) {
    smallest_mask(kernels, tensor.weights(), populations, pruned, mask, tensor.threads);
  });
}

void above_masks(const Tensor& tensor, Input& input) {
  const std::uint64_t most = check::max_key(tensor.dtype);
  const std::size_t at = input.up_to(tensor.count());
  const std::uint64_t key = at < tensor.count() ? tensor.keys[at] : input.bits(8) & most;
  Model model(tensor, false);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < tensor.count(); ++i) {
    if (tensor.keys[i] > key) {
      model.keep(i);
      ++kept;
    }
  }
  compare(model, "above_mask", [&](const Kernels& kernels, std::uint8_t* mask) {
    require(above_mask(kernels, tensor.weights(), key, mask, tensor.threads) == kept,
            "above_mask counts", kernels);
  });
}

template <Dtype dtype>
double magnitude_at(const void* weights, std::size_t i) {
  return magnitude<dtype>(weights, i);
}
constexpr PerDtype<double (*)(const void*, std::size_t)> kMagnitudeAt =
    PRUNEPACK_PER_VALUE(magnitude_at);

std::uint64_t rank_of(double norm) {
  std::uint64_t bits;
  std::memcpy(&bits, &norm, sizeof bits);
  return norm != norm ? kNan : bits;
}

// As kernels.h says: eight lanes, folded in halves.
double norm_of(const Tensor& tensor, const std::vector<std::size_t>& elements, Norm norm) {
  double lanes[8] = {};
  bool has_nan = false;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const double x = kMagnitudeAt[tensor.dtype](tensor.data.data(), elements[i]);
    has_nan |= x != x;
    double& lane = lanes[i % 8];
    lane = norm == Norm::max ? std::max(lane, x) : lane + (norm == Norm::l2 ? x * x : x);
  }
  for (const std::size_t half : {4u, 2u, 1u}) {
    for (std::size_t i = 0; i < half; ++i) {
      lanes[i] =
          norm == Norm::max ? std::max(lanes[i], lanes[i + half]) : lanes[i] + lanes[i + half];
    }
  }
  return has_nan ? from_bits(kNan) : lanes[0];
}

// The elements of each tile, in the order of the tensor; tiles in the order of their first axis.
std::vector<std::vector<std::size_t>> tiles_of(const Shape& shape, const Shape& tile) {
  Shape counts;
  std::size_t all = 1;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    counts.push_back(shape[i] / tile[i] + (shape[i] % tile[i] != 0));
    all *= counts.back();
  }
  std::vector<std::vector<std::size_t>> tiles(all);
  for (std::size_t element = 0; element < product(shape, 0, shape.size()); ++element) {
    std::size_t rest = element, index = 0, stride = 1;
    for (std::size_t i = shape.size(); i-- > 0;) {
      index += rest % shape[i] / tile[i] * stride;
      stride *= counts[i];
      rest /= shape[i];
    }
    tiles[index].push_back(element);
  }
  return tiles;
}

void block_masks(const Tensor& tensor, Input& input) {
  Shape tile;
  for (const std::size_t extent : tensor.shape) tile.push_back(size_from(input, extent + 1));
  constexpr Norm norms[] = {Norm::l1, Norm::l2, Norm::max};
  const Norm norm = input.one_of(norms);
  const auto tiles = tiles_of(tensor.shape, tile);
  const std::size_t pruned = input.up_to(tiles.size());

  Keys ranks;
  for (const auto& elements : tiles) ranks.push_back(rank_of(norm_of(tensor, elements, norm)));
  std::vector<std::size_t> order(tiles.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return ranks[a] < ranks[b]; });
  Model model(tensor, true);
  for (std::size_t i = 0; i < pruned; ++i) {
    for (const std::size_t element : tiles[order[i]]) model.prune(element);
  }
  compare(model, "block_mask", [&](const Kernels& kernels, std::uint8_t* mask) {
    block_mask(kernels, tensor.weights(), tensor.shape, tile, norm, pruned, mask, tensor.threads);
  });
}

void descriptions(const Tensor& tensor, Input& input) {
  const std::size_t bins = 1 + input.below(kMostBins);
  const auto shift = static_cast<unsigned>(input.below(8 * width(tensor.dtype)));
  const std::uint64_t low = input.bits(width(tensor.dtype));
  std::vector<std::int64_t> expected(bins + 2);
  for (const std::uint64_t key : tensor.keys) {
    ++expected[key < low ? 0 : std::min<std::uint64_t>((key - low) >> shift, bins) + 1];
  }
  const double squares = sum_of_squares(*kernels_for(Isa::scalar), tensor.data.data(), tensor.dtype,
                                        tensor.count(), 1);
  for_isas([&](const Kernels& kernels) {
    Memory counts((bins + 2) * sizeof(std::int64_t), 0);
    key_histogram(kernels, tensor.data.data(), tensor.dtype, tensor.count(), low, shift, bins,
                  counts.as<std::int64_t>(), tensor.threads);
    require(std::equal(expected.begin(), expected.end(), counts.as<std::int64_t>()),
            "key_histogram", kernels);
    const double sum =
        sum_of_squares(kernels, tensor.data.data(), tensor.dtype, tensor.count(), tensor.threads);
    require(std::memcmp(&sum, &squares, sizeof sum) == 0, "sum_of_squares", kernels);
  });

  // Importance puts the keys in the same order.
  Keys found(tensor.count());
  const double norm = from_bits(input.bits(8) & ~(std::uint64_t{1} << 63));
  importances(tensor.dtype, tensor.keys.data(), tensor.count(), norm, found.data());
  if (!(norm > 0 && norm <= 1)) return;
  for (std::size_t i = 1; i < tensor.count(); ++i) {
    const bool smaller = tensor.keys[i - 1] <= tensor.keys[i];
    require(smaller ? found[i - 1] <= found[i] : found[i - 1] >= found[i], "importances",
            *kernels_for(Isa::scalar));
  }
}

constexpr void (*kOperations[])(const Tensor&, Input&) = {nm_masks, smallest_masks, above_masks,
                                                          block_masks, descriptions};

}  // namespace
}  // namespace prunepack::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace prunepack::fuzz;
  Input input(data, bytes);
  const auto operation = input.one_of(kOperations);
  Input parameters = input.split(24);  // before the weights, which take what is left
  const Tensor tensor(input);
  operation(tensor, parameters);
  return 0;
}
