// Every kernel against the scalar one, on all the sizes at which a SIMD kernel can go wrong.
//
// Inputs end where the next byte faults, or begin where the one before does, at every alignment.
#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <set>
#include <vector>

#include "check.h"
#include "memory.h"
#include "weights.h"

namespace prunepack::check {
namespace {

constexpr std::size_t kMostElements = 65'536;
constexpr std::size_t kAlignments = 64;  // bytes of the widest register

// Elements of a distribution, or a mask, that cannot be written.
struct Input {
  const char* name;
  std::unique_ptr<Guarded> memory;
  bool from_start;

  const std::uint8_t* at(std::size_t bytes, std::size_t shift) const {
    return from_start ? memory->begin() + shift : memory->tail(bytes);
  }
};

// What the checks of all families share.
struct Bench {
  const Kernels& tested;
  const Kernels& scalar;
  Effort effort;
  Report& report;
  Random random{1};
  Outputs outputs{kMostElements * 8 + 64};
  Outputs more_outputs{kMostElements * 8 + 64};
  PerDtype<std::vector<Input>> weights{};
  std::vector<Input> masks{};

  bool quick() const { return effort == Effort::quick; }

  const std::vector<Input>& inputs(Dtype dtype) const {
    return weights.entries[static_cast<std::size_t>(dtype)];
  }

  // Two of three inputs end at the forbidden page, the third begins after one.
  template <class Fill>
  Input make(const char* name, std::size_t bytes, std::size_t index, const Fill& fill) {
    Input input{name, std::make_unique<Guarded>(bytes + kAlignments), index % 3 == 2};
    fill(input.memory->begin(), input.memory->size());
    input.memory->seal();
    return input;
  }

  void make_inputs() {
    const std::size_t distributions = quick() ? 5 : kDistributions.size();
    for (const Dtype dtype : kAllDtypes) {
      for (std::size_t i = 0; i < distributions; ++i) {
        const Distribution& distribution = kDistributions[i];
        weights.entries[static_cast<std::size_t>(dtype)].push_back(
            make(distribution.name, kMostElements * width(dtype), i,
                 [&](std::uint8_t* begin, std::size_t bytes) {
                   distribution.fill(random, dtype, begin, bytes / width(dtype));
                 }));
      }
    }
    for (std::size_t i = 0; i < kMaskKinds.size(); ++i) {
      masks.push_back(make(kMaskKinds[i].name, kMostElements / 8, i,
                           [&](std::uint8_t* begin, std::size_t bytes) {
                             kMaskKinds[i].fill(random, begin, bytes);
                           }));
    }
  }
};

// Element counts: to twice the widest register, and some where a main loop runs for long.
const std::vector<std::size_t>& counts() {
  static const std::vector<std::size_t> all = [] {
    std::vector<std::size_t> list;
    for (std::size_t count = 0; count <= 257; ++count) list.push_back(count);
    list.insert(list.end(), {511, 512, 513, 1000, 1023, 1027, 2049, 4099});
    return list;
  }();
  return all;
}

std::size_t mask_bytes(std::size_t count) { return (count + 7) / 8; }

// A shift of some elements, another one for every count.
std::size_t shift_of(std::size_t count, std::size_t element_bytes) {
  return (count * 5 + 1) * element_bytes % kAlignments;
}

// Calls body(weights, input) for every dtype and distribution.
template <class Body>
void for_inputs(Bench& bench, const Body& body) {
  for (const Dtype dtype : kAllDtypes) {
    for (const Input& input : bench.inputs(dtype)) body(dtype, input);
  }
}

// nm_mask

std::set<std::size_t> pruned_counts(std::size_t m, bool quick) {
  std::set<std::size_t> all{0, 1, m / 2, 3 * m / 4, m - 1, m};
  if (quick && m <= 16) return {1, m / 2, 3 * m / 4, m - 1};
  if (quick) return {m / 2, 3 * m / 4, m - 1};
  for (std::size_t n = 0; m <= 16 && n <= m; ++n) all.insert(n);
  return all;
}

std::vector<std::size_t> group_sizes(bool quick) {
  std::vector<std::size_t> all;
  for (std::size_t m = 1; m <= 40; ++m) all.push_back(m);
  // The largest go beyond what narrow counters in the lanes can hold.
  if (quick) {
    all.insert(all.end(), {63, 64, 65, 100, 257, 1024, 20'000});
  } else {
    all.insert(all.end(),
               {48,  50,  63,  64,  65,   96,   100,  127,  128,  129,  255,  256,    257,
                300, 511, 512, 513, 1000, 1024, 2000, 4095, 4096, 8160, 8192, 16'384, 65'536});
  }
  return all;
}

std::set<std::size_t> group_counts(std::size_t m, bool quick) {
  std::set<std::size_t> all;
  for (const std::size_t groups :
       {0u, 1u, 2u, 3u, 4u, 5u, 7u, 8u, 9u, 15u, 16u, 17u, 31u, 33u, 64u, 65u, 129u, 257u}) {
    const std::size_t most = groups <= 2 ? kMostElements : quick ? 300 : 700;
    if (groups * m <= most) all.insert(groups);
  }
  // Where kernels learn from the groups before, or take eight at once.
  if (m > 32 && m <= 256) all.insert(150);
  if (m > 256 && m <= 1024) all.insert(20);
  return all;
}

void nm_mask(Bench& bench) {
  const std::vector<std::size_t> sizes = group_sizes(bench.quick());
  for_inputs(bench, [&](Dtype dtype, const Input& input) {
    const NmMask tested = (*bench.tested.nm_mask)[dtype], scalar = (*bench.scalar.nm_mask)[dtype];
    for (const std::size_t m : sizes) {
      for (const std::size_t n : pruned_counts(m, bench.quick())) {
        for (const std::size_t groups : group_counts(m, bench.quick())) {
          const std::size_t bytes = width(dtype), count = groups * m;
          const std::uint8_t* weights = input.at(count * bytes, shift_of(groups + n, bytes));
          Outputs& out = bench.outputs;
          out.prepare(mask_bytes(count), n % 8);
          bench.report.compare(
              {dtype, input.name, {{{"groups", groups}, {"n", n}, {"m", m}}}},
              [&] {
                scalar(weights, groups, n, m, out.expected());
                tested(weights, groups, n, m, out.actual());
              },
              [&] { return out.agree(); });
        }
      }
    }
  });
}

// nm_columns

void nm_columns(Bench& bench) {
  for_inputs(bench, [&](Dtype dtype, const Input& input) {
    const NmColumns tested = (*bench.tested.nm_columns)[dtype],
                    scalar = (*bench.scalar.nm_columns)[dtype];
    const std::size_t bytes = width(dtype);
    for (std::size_t m = 1; m <= kMostUpright; m += m < 20 || m > 60 ? 1 : 7) {
      for (const std::size_t columns : {0u, 1u, 3u, 7u, 8u, 9u, 16u, 31u, 32u, 33u, 64u, 129u}) {
        for (const std::size_t n : pruned_counts(m, true)) {
          // Whole rows one after the other, or a part of wider ones, whose other bits stay.
          for (const std::size_t more : {std::size_t{0}, std::size_t{16}}) {
            const std::size_t stride = columns + more, mask_stride = mask_bytes(columns) + more / 8;
            const std::size_t read = columns == 0 ? 0 : (m - 1) * stride + columns;
            const std::uint8_t* weights = input.at(read * bytes, shift_of(columns + n, bytes));
            Outputs& out = bench.outputs;
            out.prepare((m - 1) * mask_stride + mask_bytes(columns), n % 8);
            bench.report.compare(
                {dtype, input.name, {{{"columns", columns}, {"n", n}, {"m", m}}}},
                [&] {
                  scalar(weights, stride, columns, n, m, out.expected(), mask_stride);
                  tested(weights, stride, columns, n, m, out.actual(), mask_stride);
                },
                [&] { return out.agree(); });
          }
        }
      }
    }
  });
}

// nm_bands

void nm_bands(Bench& bench) {
  for_inputs(bench, [&](Dtype dtype, const Input& input) {
    const NmBands tested = (*bench.tested.nm_bands)[dtype],
                  scalar = (*bench.scalar.nm_bands)[dtype];
    const std::size_t bytes = width(dtype);
    for (std::size_t m = 1; m <= kTallestBand; ++m) {
      for (const std::size_t columns : {1u, 2u, 3u, 8u, 9u, 21u, 25u, 31u, 32u, 49u, 63u, 64u}) {
        for (const std::size_t n : pruned_counts(m, false)) {
          for (const std::size_t bands : {0u, 1u, 2u, 7u, 8u, 9u, 17u, 100u, 129u}) {
            const std::size_t count = bands * m * columns;
            const std::uint8_t* weights = input.at(count * bytes, shift_of(count + n, bytes));
            Outputs& out = bench.outputs;
            out.prepare(mask_bytes(count), n % 8);
            bench.report.compare(
                {dtype, input.name, {{{"bands", bands}, {"columns", columns}, {"n", n}, {"m", m}}}},
                [&] {
                  scalar(weights, bands, columns, n, m, out.expected());
                  tested(weights, bands, columns, n, m, out.actual());
                },
                [&] { return out.agree(); });
          }
        }
      }
    }
  });
}

// above_mask, bracket_mask

// Keys at and beyond the ends of what the dtype has, and some that are there.
std::vector<std::uint64_t> keys_of(Dtype dtype, const Input& input) {
  const std::uint64_t most = max_key(dtype), any = key_at(dtype, input.memory->tail(8000), 0);
  const std::uint64_t other = key_at(dtype, input.memory->begin(), 77);
  std::set<std::uint64_t> keys{0, 1, any, other, most - 1, most};
  keys.insert(~std::uint64_t{0} >> (64 - 8 * width(dtype)));  // above all of them
  return {keys.begin(), keys.end()};
}

template <class Body>
void for_keys_and_counts(Bench& bench, const Body& body) {
  for_inputs(bench, [&](Dtype dtype, const Input& input) {
    for (const std::uint64_t key : keys_of(dtype, input)) {
      for (const std::size_t count : counts()) body(dtype, input, key, count);
    }
  });
}

void above_mask(Bench& bench) {
  for_keys_and_counts(
      bench, [&](Dtype dtype, const Input& input, std::uint64_t key, std::size_t count) {
        const std::size_t bytes = width(dtype);
        const std::uint8_t* weights = input.at(count * bytes, shift_of(count, bytes));
        Outputs& out = bench.outputs;
        out.prepare(mask_bytes(count), count % 16);
        std::size_t expected = 0, actual = 0;
        bench.report.compare(
            {dtype, input.name, {{{"count", count}, {"key", key}}}},
            [&] {
              expected = (*bench.scalar.above_mask)[dtype](weights, count, key, out.expected());
              actual = (*bench.tested.above_mask)[dtype](weights, count, key, out.actual());
            },
            [&] { return out.agree() && expected == actual; });
      });
}

bool same(const Above& a, const Above& b) { return a.above == b.above && a.tied == b.tied; }

void bracket_mask(Bench& bench) {
  Outputs positions(kMostElements * 2 + 64);
  for_inputs(bench, [&](Dtype dtype, const Input& input) {
    const std::size_t bytes = width(dtype);
    std::size_t turn = 0;
    const std::vector<std::uint64_t> keys = keys_of(dtype, input);
    for (std::size_t a = 0; a < keys.size(); ++a) {
      for (std::size_t b = a; b < keys.size(); ++b) {
        const std::uint64_t low = keys[a], high = keys[b];
        for (const std::size_t count : counts()) {
          // A quarter of the counts for each range, other ones for the next.
          if (++turn % (bench.quick() ? 8 : 4) != 0) continue;
          const std::uint8_t* weights = input.at(count * bytes, shift_of(count, bytes));
          Outputs &mask = bench.outputs, &inside = bench.more_outputs;
          mask.prepare(mask_bytes(count), count % 16);
          inside.prepare(count * bytes + 64, count * bytes % 64);
          positions.prepare(count * 2 + 64, count * 2 % 64);
          Above expected{}, actual{};
          bench.report.compare(
              {dtype, input.name, {{{"count", count}, {"low", low}, {"high", high}}}},
              [&] {
                expected = (*bench.scalar.bracket_mask)[dtype](
                    weights, count, low, high, mask.expected(), inside.expected(),
                    reinterpret_cast<std::uint16_t*>(positions.expected()));
                actual = (*bench.tested.bracket_mask)[dtype](
                    weights, count, low, high, mask.actual(), inside.actual(),
                    reinterpret_cast<std::uint16_t*>(positions.actual()));
              },
              [&] {
                return same(expected, actual) && mask.agree() &&
                       inside.agree(expected.tied * bytes) && positions.agree(expected.tied * 2);
              });
        }
      }
    }
  });
}

// key_histogram

void key_histogram(Bench& bench) {
  constexpr std::size_t bins = 300, bytes_of_counts = kHistogramTables * (bins + 2) * 4;
  for_keys_and_counts(bench, [&](Dtype dtype, const Input& input, std::uint64_t low,
                                 std::size_t count) {
    const std::size_t bytes = width(dtype);
    const auto shift = static_cast<unsigned>((count * 3 + low) % (8 * bytes));
    const std::uint8_t* weights = input.at(count * bytes, shift_of(count, bytes));
    Outputs& out = bench.outputs;
    out.prepare(bytes_of_counts);
    std::memset(out.expected(), 0, bytes_of_counts);
    std::memset(out.actual(), 0, bytes_of_counts);
    bench.report.compare(
        {dtype, input.name, {{{"count", count}, {"low", low}, {"shift", shift}}}},
        [&] {
          (*bench.scalar.key_histogram)[dtype](weights, count, low, shift, bins,
                                               reinterpret_cast<std::uint32_t*>(out.expected()));
          (*bench.tested.key_histogram)[dtype](weights, count, low, shift, bins,
                                               reinterpret_cast<std::uint32_t*>(out.actual()));
        },
        [&] { return out.agree(); });
  });
}

// tile_norms, column_norms

constexpr Norm kNorms[] = {Norm::l1, Norm::l2, Norm::max};

std::vector<std::size_t> norm_sizes() {
  std::vector<std::size_t> all;
  for (std::size_t size = 0; size <= 40; ++size) all.push_back(size);
  all.insert(all.end(), {63, 64, 65, 100, 257, 1000});
  return all;
}

void tile_norms(Bench& bench) {
  for_inputs(bench, [&](Dtype dtype, const Input& input) {
    const std::size_t bytes = width(dtype);
    for (const Norm norm : kNorms) {
      for (const std::size_t size : norm_sizes()) {
        for (const std::size_t tiles : {0u, 1u, 2u, 3u, 4u, 5u, 7u, 8u, 13u}) {
          const std::size_t count = tiles * size;
          const std::uint8_t* weights = input.at(count * bytes, shift_of(tiles + size, bytes));
          Outputs& out = bench.outputs;
          out.prepare(tiles * sizeof(double), 8 * (size % 3));
          bench.report.compare(
              {dtype,
               input.name,
               {{{"tiles", tiles}, {"size", size}, {"norm", static_cast<std::size_t>(norm)}}}},
              [&] {
                (*bench.scalar.tile_norms)[dtype](weights, tiles, size, norm,
                                                  reinterpret_cast<double*>(out.expected()));
                (*bench.tested.tile_norms)[dtype](weights, tiles, size, norm,
                                                  reinterpret_cast<double*>(out.actual()));
              },
              [&] { return out.agree(); });
        }
      }
    }
  });
}

// The two families of norms of columns differ in what a norm is.
template <class Number, class Family, class... More>
void norms_of_columns(Bench& bench, const Family& family, More... more) {
  std::vector<std::size_t> widths;
  for (std::size_t columns = 0; columns <= 35; ++columns) widths.push_back(columns);
  widths.insert(widths.end(), {63, 64, 65, 129});
  for_inputs(bench, [&](Dtype dtype, const Input& input) {
    const std::size_t bytes = width(dtype);
    for (const Norm norm : kNorms) {
      for (const std::size_t columns : widths) {
        for (const std::size_t size : {0u, 1u, 2u, 3u, 4u, 7u, 8u, 9u, 16u, 17u, 40u}) {
          const std::size_t stride = columns + (size % 2) * (columns % 5);
          const std::size_t count = size == 0 ? 0 : (size - 1) * stride + columns;
          const std::uint8_t* weights = input.at(count * bytes, shift_of(columns + size, bytes));
          Outputs& out = bench.outputs;
          out.prepare(columns * sizeof(Number), 8 * (size % 3));
          bench.report.compare(
              {dtype,
               input.name,
               {{{"columns", columns},
                 {"size", size},
                 {"stride", stride},
                 {"norm", static_cast<std::size_t>(norm)}}}},
              [&] {
                (*(bench.scalar.*family))[dtype](weights, stride, size, columns, norm, more...,
                                                 reinterpret_cast<Number*>(out.expected()));
                (*(bench.tested.*family))[dtype](weights, stride, size, columns, norm, more...,
                                                 reinterpret_cast<Number*>(out.actual()));
              },
              [&] { return out.agree(); });
        }
      }
    }
  });
}

void column_norms(Bench& bench) { norms_of_columns<double>(bench, &Kernels::column_norms); }

// With nothing ahead, and with something that is not there.
void rough_norms(Bench& bench) {
  norms_of_columns<float>(bench, &Kernels::rough_norms, static_cast<const void*>(nullptr));
  norms_of_columns<float>(bench, &Kernels::rough_norms, reinterpret_cast<const void*>(4096));
}

// compress, expand, apply_mask, count_bits

// Calls body(dtype, mask input, weights or values, count, mask). What the bits of the elements are
// does not matter to these.
template <class Body>
void for_masks(Bench& bench, const Body& body) {
  for (const Dtype dtype : kAllDtypes) {
    for (const Input& mask : bench.masks) {
      for (const std::size_t count : counts()) {
        const Input& elements = bench.inputs(dtype)[count % 5 == 0 ? 2 : 0];
        body(dtype, mask, elements, count, mask.at(mask_bytes(count), count % 16));
      }
    }
  }
}

std::size_t bits_set(const std::uint8_t* mask, std::size_t count) {
  std::size_t set = 0;
  for (std::size_t i = 0; i < count; ++i) set += (mask[i / 8] >> i % 8 & 1) != 0;
  return set;
}

// With room for what is kept only, and with more.
void compress_by(Bench& bench, const PerDtype<Compress>* Kernels::* family) {
  for_masks(bench, [&](Dtype dtype, const Input& kind, const Input& elements, std::size_t count,
                       const std::uint8_t* mask) {
    const std::size_t bytes = width(dtype), kept = bits_set(mask, count);
    const std::uint8_t* weights = elements.at(count * bytes, shift_of(count, bytes));
    Outputs& out = bench.outputs;
    for (const std::size_t more : {0u, 40u, 200u}) {
      out.prepare((kept + more) * bytes, count * bytes % 64);
      bench.report.compare(
          {dtype, kind.name, {{{"count", count}, {"kept", kept}, {"more room", more}}}},
          [&] {
            (*bench.scalar.compress)[dtype](weights, mask, count, kept, out.expected());
            (*(bench.tested.*family))[dtype](weights, mask, count, kept + more, out.actual());
          },
          [&] { return out.agree(kept * bytes); });
    }
  });
}

void compress(Bench& bench) { compress_by(bench, &Kernels::compress); }
void compress_stream(Bench& bench) { compress_by(bench, &Kernels::compress_stream); }

// With the values that are taken, with more after them, and with fewer.
void expand_by(Bench& bench, const PerDtype<Expand>* Kernels::* family, bool aligned) {
  for_masks(bench, [&](Dtype dtype, const Input& kind, const Input& elements, std::size_t count,
                       const std::uint8_t* mask) {
    const std::size_t bytes = width(dtype), kept = bits_set(mask, count);
    Outputs& out = bench.outputs;
    for (const std::size_t more : {0u, 40u, 200u}) {
      const std::uint8_t* values = elements.at((kept + more) * bytes, shift_of(count, bytes));
      out.prepare(count * bytes, aligned ? 0 : count * bytes % 64);
      bench.report.compare(
          {dtype, kind.name, {{{"count", count}, {"kept", kept}, {"more values", more}}}},
          [&] {
            (*bench.scalar.expand)[dtype](mask, values, kept, count, out.expected());
            (*(bench.tested.*family))[dtype](mask, values, kept + more, count, out.actual());
          },
          [&] { return out.agree(); });
    }
    // With fewer values than the mask asks for, those after them, which are not there, are not
    // read.
    const std::uint8_t* values = elements.at(kept / 2 * bytes, shift_of(count, bytes));
    (*(bench.tested.*family))[dtype](mask, values, kept / 2, count, out.actual());
  });
}

void expand(Bench& bench) { expand_by(bench, &Kernels::expand, false); }
void expand_stream(Bench& bench) { expand_by(bench, &Kernels::expand_stream, true); }

void apply_mask(Bench& bench) {
  for_masks(bench, [&](Dtype dtype, const Input& kind, const Input& elements, std::size_t count,
                       const std::uint8_t* mask) {
    const std::size_t bytes = width(dtype);
    const std::uint8_t* weights = elements.at(count * bytes, shift_of(count, bytes));
    Outputs& out = bench.outputs;
    for (const bool in_place : {false, true}) {
      out.prepare(count * bytes, count * bytes % 64);
      if (in_place) std::memcpy(out.actual(), weights, count * bytes);
      bench.report.compare(
          {dtype, kind.name, {{{"count", count}, {"in place", in_place}}}},
          [&] {
            (*bench.scalar.apply_mask)[dtype](weights, mask, count, out.expected());
            (*bench.tested.apply_mask)[dtype](in_place ? out.actual() : weights, mask, count,
                                              out.actual());
          },
          [&] { return out.agree(); });
    }
  });
}

void count_bits(Bench& bench) {
  for (const Input& mask : bench.masks) {
    for (const std::size_t bytes : counts()) {
      if (bytes > kMostElements / 8) continue;
      std::size_t expected = 0, actual = 0;
      bench.report.compare(
          {Dtype::uint8, mask.name, {{{"bytes", bytes}}}},
          [&] {
            expected = bench.scalar.count_bits(mask.at(bytes, bytes % 7), bytes);
            actual = bench.tested.count_bits(mask.at(bytes, bytes % 7), bytes);
          },
          [&] { return expected == actual; });
    }
  }
}

constexpr struct {
  const char* name;
  void (*check)(Bench&);
} kFamilies[] = {
    {"nm_mask", nm_mask},
    {"nm_columns", nm_columns},
    {"nm_bands", nm_bands},
    {"above_mask", above_mask},
    {"bracket_mask", bracket_mask},
    {"key_histogram", key_histogram},
    {"tile_norms", tile_norms},
    {"column_norms", column_norms},
    {"rough_norms", rough_norms},
    {"compress", compress},
    {"compress_stream", compress_stream},
    {"expand", expand},
    {"expand_stream", expand_stream},
    {"apply_mask", apply_mask},
    {"count_bits", count_bits},
};

}  // namespace

void check_kernels(const Kernels& tested, Effort effort, Report& report) {
  Bench bench{tested, *kernels_for(Isa::scalar), effort, report};
  bench.make_inputs();
  for (const auto& family : kFamilies) {
    report.begin(tested.isa, family.name);
    family.check(bench);
    report.end();
  }
}

}  // namespace prunepack::check
