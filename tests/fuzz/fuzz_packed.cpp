// Packed parts: masks with the values they keep, unpacked, packed again, applied, looked at, and
// multiplied; with every ISA, beside a plain model.
//
// Whoever calls these operations has counted that a mask has as many bits set as there are values.
// Some masks here have bits set behind the last column, which nobody has looked at: then nothing is
// asked of the results, but memory must stay whole.
#include <cmath>
#include <numeric>
#include <optional>
#include <vector>

#include "input.h"
#include "prunepack/describe.h"
#include "prunepack/linear.h"
#include "prunepack/pack.h"

namespace prunepack::fuzz {
namespace {

struct Parts {
  Dtype dtype;
  std::size_t rows, columns;
  unsigned threads;
  bool padded_with_zeros;
  Memory mask, values;
  std::size_t kept;  // bits of the mask, also of its padding

  std::size_t line() const { return row_bytes(columns); }
  std::size_t count() const { return rows * columns; }
  bool keeps(std::size_t row, std::size_t column) const {
    return bit(mask.data() + row * line(), column);
  }
};

std::size_t bits_set(const Memory& mask) {
  std::size_t set = 0;
  for (std::size_t i = 0; i < 8 * mask.size(); ++i) set += bit(mask.data(), i);
  return set;
}

// Keeps at most `most` of every `group` bits of a mask: what the n:m layouts are for.
void thin_out(Memory& mask, std::size_t group, std::size_t most) {
  for (std::size_t first = 0; first < 8 * mask.size(); first += group) {
    std::size_t kept = 0;
    for (std::size_t i = first; i < std::min(first + group, 8 * mask.size()); ++i) {
      if (!bit(mask.data(), i) || ++kept <= most) continue;
      mask.data()[i / 8] = static_cast<std::uint8_t>(mask.data()[i / 8] & ~(1u << i % 8));
    }
  }
}

// Small whole numbers, with which every sum is exact, in whatever order it is added up.
void store_small(Dtype dtype, std::uint8_t byte, std::uint8_t* to) {
  const int number = byte % 17 - 8;
  const auto value = static_cast<float>(number);
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (dtype == Dtype::float32) std::memcpy(to, &bits, 4);
  if (dtype == Dtype::bfloat16) std::memcpy(to, reinterpret_cast<std::uint8_t*>(&bits) + 2, 2);
  if (dtype == Dtype::int8) *to = static_cast<std::uint8_t>(number);
  if (dtype == Dtype::float16) {
    const std::uint32_t magnitude = ((bits >> 13) - (112u << 10)) & 0x7fff;
    const auto half =
        static_cast<std::uint16_t>((bits >> 16 & 0x8000) | (number == 0 ? 0 : magnitude));
    std::memcpy(to, &half, 2);
  }
}

Parts parts_from(Input& input, Dtype dtype) {
  const std::size_t rows = input.below(50);
  const std::size_t columns = input.below(16) == 0 ? input.below(9'000) : input.below(300);
  const auto threads = 1 + static_cast<unsigned>(input.below(3));
  const bool padded_with_zeros = input.below(8) != 0;
  constexpr std::size_t groups[] = {0, 0, 4, 16};
  const std::size_t group = input.one_of(groups);
  const std::size_t most = input.below(8);
  Memory mask = input.mask(rows * row_bytes(columns));
  if (group > 0) thin_out(mask, group, most);
  for (std::size_t row = 0; padded_with_zeros && columns % 8 != 0 && row < rows; ++row) {
    std::uint8_t& last = mask.data()[(row + 1) * row_bytes(columns) - 1];
    last = static_cast<std::uint8_t>(last & ((1u << columns % 8) - 1));
  }
  const std::size_t kept = bits_set(mask);
  return {
      dtype, rows, columns, threads, padded_with_zeros, std::move(mask), input.weights(dtype, kept),
      kept};
}

// The dense weights that the parts stand for.
Memory model_of(const Parts& parts) {
  const std::size_t bytes = width(parts.dtype);
  Memory dense(parts.count() * bytes, 0);
  std::size_t next = 0;
  for (std::size_t i = 0; i < parts.count(); ++i) {
    if (!parts.keeps(i / parts.columns, i % parts.columns)) continue;
    std::memcpy(dense.data() + i * bytes, parts.values.data() + next++ * bytes, bytes);
  }
  return dense;
}

void unpacking(const Parts& parts, Input&) {
  const Memory expected = model_of(parts);
  for_isas([&](const Kernels& kernels) {
    Memory dense(expected.size());
    unpack(kernels, parts.mask.data(), parts.values.data(), parts.kept, parts.dtype, parts.rows,
           parts.columns, dense.data(), parts.threads);
    require(!parts.padded_with_zeros || dense == expected, "unpack", kernels);
  });
}

// Packs the values as a tensor of their own shape, with a mask and without, and unpacks it again.
void packing(const Parts& parts, Input& input) {
  const std::size_t bytes = width(parts.dtype);
  const Memory dense = input.weights(parts.dtype, parts.count());
  const bool masked = input.below(2) == 0;
  Memory mask(parts.mask.size(), 0), pruned(dense.size(), 0);
  std::vector<std::uint8_t> values;
  for (std::size_t i = 0; i < parts.count(); ++i) {
    const std::size_t row = i / parts.columns, column = i % parts.columns;
    if (check::key_at(parts.dtype, dense.data(), i) == 0) continue;
    if (masked && !parts.keeps(row, column)) continue;
    set_bit(mask.data() + row * parts.line(), column);
    const std::uint8_t* from = dense.data() + i * bytes;
    values.insert(values.end(), from, from + bytes);
    std::memcpy(pruned.data() + i * bytes, from, bytes);
  }
  const std::size_t kept = values.size() / bytes;
  for_isas([&](const Kernels& kernels) {
    Memory packed_mask(mask.size()), packed(dense.size()), unpacked(dense.size());
    const std::size_t found = pack(kernels, {dense.data(), parts.dtype, parts.rows, parts.columns},
                                   masked ? parts.mask.data() : nullptr, packed_mask.data(),
                                   packed.data(), parts.threads);
    if (masked && !parts.padded_with_zeros) return;
    require(found == kept && packed_mask == mask, "pack keeps the wrong weights", kernels);
    require(std::equal(values.begin(), values.end(), packed.data()), "pack", kernels);
    Memory exact(values.size());
    std::copy(values.begin(), values.end(), exact.data());
    unpack(kernels, packed_mask.data(), exact.data(), kept, parts.dtype, parts.rows, parts.columns,
           unpacked.data(), parts.threads);
    require(unpacked == pruned, "unpack after pack", kernels);
  });
}

void applying(const Parts& parts, Input& input) {
  const std::size_t bytes = width(parts.dtype);
  const Memory dense = input.weights(parts.dtype, parts.count());
  Memory expected(dense.size(), 0);
  for (std::size_t i = 0; i < parts.count(); ++i) {
    if (!parts.keeps(i / parts.columns, i % parts.columns)) continue;
    std::memcpy(expected.data() + i * bytes, dense.data() + i * bytes, bytes);
  }
  const bool in_place = input.below(2) == 0;
  for_isas([&](const Kernels& kernels) {
    Memory out = in_place ? dense : Memory(dense.size());
    const Weights weights{in_place ? out.data() : dense.data(), parts.dtype, parts.rows,
                          parts.columns};
    apply_mask(kernels, weights, parts.mask.data(), out.data(), parts.threads);
    require(!parts.padded_with_zeros || out == expected, "apply_mask", kernels);
  });
}

// The weights in the tiles of this size that keep any.
std::size_t live_in(const Parts& parts, std::size_t height, std::size_t depth, std::size_t tall,
                    std::size_t wide) {
  std::size_t live = 0;
  for (std::size_t top = 0; top < height; top += tall) {
    for (std::size_t inner = 0; inner < depth; ++inner) {
      for (std::size_t left = 0; left < parts.columns; left += wide) {
        const std::size_t bottom = std::min(top + tall, height);
        const std::size_t right = std::min(left + wide, parts.columns);
        bool any = false;
        for (std::size_t y = top; y < bottom; ++y) {
          for (std::size_t x = left; x < right; ++x) any |= parts.keeps(y * depth + inner, x);
        }
        if (any) live += (bottom - top) * (right - left);
      }
    }
  }
  return live;
}

void looking(const Parts& parts, Input& input) {
  const std::size_t depth = parts.rows % 3 == 0 ? 3 : 1, height = parts.rows / depth;
  const std::size_t tall = input.below(kTileSides.size()), wide = input.below(kTileSides.size());
  const std::size_t group = input.below(kGroupSizes.size());
  std::size_t most_kept = 0;
  for (std::size_t row = 0; row < parts.rows; ++row) {
    for (std::size_t first = 0; first < parts.columns; first += kGroupSizes[group]) {
      std::size_t kept = 0;
      for (std::size_t i = first; i < std::min(first + kGroupSizes[group], parts.columns); ++i) {
        kept += parts.keeps(row, i);
      }
      most_kept = std::max(most_kept, kept);
    }
  }
  const std::size_t live = live_in(parts, height, depth, kTileSides[tall], kTileSides[wide]);
  Memory united(depth * parts.line(), 0);
  for (std::size_t i = 0; i < parts.mask.size(); ++i) {
    std::uint8_t& byte = united.data()[i % united.size()];
    byte = static_cast<std::uint8_t>(byte | parts.mask.data()[i]);
  }
  for_isas([&](const Kernels& kernels) {
    Memory columns(depth * parts.line());
    const MaskStructure found = mask_structure(kernels, parts.mask.data(), height, depth,
                                               parts.columns, columns.data(), parts.threads);
    Memory counts(parts.rows * sizeof(std::int64_t));
    count_rows(kernels, parts.mask.data(), parts.rows, parts.line(), counts.as<std::int64_t>());
    const auto* first = counts.as<std::int64_t>();
    require(std::accumulate(first, first + parts.rows, std::int64_t{0}) ==
                static_cast<std::int64_t>(parts.kept),
            "count_rows", kernels);
    if (!parts.padded_with_zeros) return;
    require(found.kept == parts.kept, "mask_structure: kept", kernels);
    require(found.most_kept[group] == most_kept, "mask_structure: groups", kernels);
    require(found.live[tall][wide] == live, "mask_structure: tiles", kernels);
    require(columns == united, "mask_structure: columns", kernels);
  });
}

struct Activation {
  Memory x, scales, bias;
  std::size_t batch;
  Activations kind;

  Activation(const Parts& parts, Activations rounded_to, Input& input)
      : x(0),
        scales(parts.rows * sizeof(float)),
        bias(parts.rows * sizeof(float)),
        batch(input.below(40)),
        kind(rounded_to) {
    Random random(input.bits(2));
    x = Memory(batch * parts.columns * sizeof(float));
    const auto fill = [&](Memory& memory) {
      for (std::size_t i = 0; i < memory.size(); i += sizeof(float)) {
        const float number = static_cast<float>(random.below(9)) - 4;
        std::memcpy(memory.data() + i, &number, sizeof number);
      }
    };
    fill(x);
    fill(scales);
    fill(bias);
  }
};

// y of the sums as they are defined. int8 activations are in steps, and only compared.
void check_sums(const Parts& parts, const Memory& dense, Activation& in, const Memory& y,
                bool scaled, bool biased, const Kernels& kernels) {
  const auto number = [&](std::size_t i) {
    float value = 0;
    std::uint32_t bits = 0;
    if (parts.dtype == Dtype::int8)
      return static_cast<float>(static_cast<std::int8_t>(dense.data()[i]));
    if (parts.dtype == Dtype::float32) std::memcpy(&bits, dense.data() + 4 * i, 4);
    if (parts.dtype == Dtype::bfloat16) {
      std::memcpy(reinterpret_cast<std::uint8_t*>(&bits) + 2, dense.data() + 2 * i, 2);
    }
    if (parts.dtype == Dtype::float16) {
      std::uint16_t half;
      std::memcpy(&half, dense.data() + 2 * i, 2);
      const std::uint32_t sign = (half & 0x8000u) << 16, magnitude = half & 0x7fffu;
      bits = magnitude == 0 ? sign : sign | ((magnitude << 13) + (112u << 23));
    }
    std::memcpy(&value, &bits, sizeof value);
    return value;
  };
  for (std::size_t b = 0; b < in.batch; ++b) {
    for (std::size_t row = 0; row < parts.rows; ++row) {
      float sum = 0;
      for (std::size_t c = 0; c < parts.columns; ++c) {
        sum += in.x.as<float>()[b * parts.columns + c] * number(row * parts.columns + c);
      }
      if (scaled) sum *= in.scales.as<float>()[row];
      if (biased) sum += in.bias.as<float>()[row];
      float found;
      std::memcpy(&found, y.data() + (b * parts.rows + row) * sizeof found, sizeof found);
      require(found == sum, "linear", kernels);
    }
  }
}

void multiplying(const Parts& given, Input& input) {
  constexpr std::optional<Layout> layouts[] = {std::nullopt,  Layout::dense, Layout::bitmask,
                                               Layout::nm4,   Layout::nm16,  Layout::blocks,
                                               Layout::index, Layout::csr};
  Parts parts = given;
  const std::optional<Layout> layout = input.one_of(layouts);
  const bool small = input.below(4) != 0, scaled = input.below(2) == 0,
             biased = input.below(2) == 0;
  if (small) {
    const std::size_t bytes = width(parts.dtype);
    for (std::size_t i = 0; i < parts.kept; ++i) {
      store_small(parts.dtype, parts.values.data()[i * bytes], parts.values.data() + i * bytes);
    }
  }
  const bool rounds = input.below(2) == 0;
  const Activations kind = rounds && parts.dtype == Dtype::bfloat16 ? Activations::bfloat16
                           : rounds && parts.dtype == Dtype::int8   ? Activations::int8
                                                                    : Activations::float32;
  Activation in(parts, kind, input);
  const bool is_summed = small && parts.padded_with_zeros;
  const Memory dense = model_of(parts);
  Memory of_scalar(0);
  for_isas([&](const Kernels& kernels) {
    const auto y_of = [&](unsigned threads) {
      const Prepared prepared = prepare(
          kernels, {parts.mask.data(), parts.values.data(), parts.dtype, parts.rows, parts.columns},
          layout, kind, threads);
      Memory y(in.batch * parts.rows * sizeof(float));
      linear(kernels, prepared,
             {in.x.as<float>(), in.batch, kind, scaled ? in.scales.as<float>() : nullptr,
              biased ? in.bias.as<float>() : nullptr, y.as<float>()},
             threads);
      return y;
    };
    const Memory y = y_of(1);
    if (parts.threads > 1) require(y_of(parts.threads) == y, "linear on threads", kernels);
    if (!is_summed) return;
    if (kernels.isa == Isa::scalar) of_scalar = y;
    require(y == of_scalar, "linear beside scalar", kernels);
    if (kind != Activations::int8) check_sums(parts, dense, in, y, scaled, biased, kernels);
  });
}

constexpr void (*kOperations[])(const Parts&, Input&) = {
    unpacking, packing, applying, looking, multiplying, multiplying, multiplying};

}  // namespace
}  // namespace prunepack::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace prunepack;
  using namespace prunepack::fuzz;
  Input input(data, bytes);
  const auto operation = input.one_of(kOperations);
  constexpr Dtype for_products[] = {Dtype::float32, Dtype::float16, Dtype::bfloat16, Dtype::int8};
  const Dtype dtype =
      operation == multiplying ? input.one_of(for_products) : input.one_of(kAllDtypes);
  Input parameters = input.split(16);  // before the values, which take what is left
  const Parts parts = parts_from(input, dtype);
  operation(parts, parameters);
  return 0;
}
