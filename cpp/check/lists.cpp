// Lists: their columns and values are those of the scalar kernels, and products with them are held
// to sums in float64.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "check.h"
#include "memory.h"
#include "weights.h"

namespace prunepack::check {
namespace {

const Distribution& called(const char* name) {
  return *std::find_if(kDistributions.begin(), kDistributions.end(),
                       [&](const Distribution& d) { return std::strcmp(d.name, name) == 0; });
}

void check_columns(const ListKernels& tested, const ListKernels& scalar, Report& report) {
  constexpr std::size_t most = kListColumns / 8;
  Random random(1);
  Outputs out((kListColumns + kListSlack) * sizeof(std::uint16_t));
  for (const MaskKind& kind : kMaskKinds) {
    Guarded masks(most);
    kind.fill(random, masks.begin(), masks.size());
    masks.seal();
    for (std::size_t bytes = 0; bytes <= most; bytes += bytes < 40 ? 1 : 59) {
      out.prepare((8 * bytes + kListSlack) * sizeof(std::uint16_t), 2 * (bytes % 32));
      std::size_t expected = 0, actual = 0;
      report.compare(
          {Dtype::uint8, kind.name, {{{"bytes", bytes}}}},
          [&] {
            const std::uint8_t* mask = masks.tail(bytes);
            expected =
                scalar.columns(mask, bytes, reinterpret_cast<std::uint16_t*>(out.expected()));
            actual = tested.columns(mask, bytes, reinterpret_cast<std::uint16_t*>(out.actual()));
          },
          [&] { return expected == actual && out.agree(expected * sizeof(std::uint16_t)); });
    }
  }
}

// The same bits, but for the payload of a NaN.
bool same_numbers(const std::uint8_t* a, const std::uint8_t* b, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    float x, y;
    std::memcpy(&x, a + i * sizeof x, sizeof x);
    std::memcpy(&y, b + i * sizeof y, sizeof y);
    if (std::isnan(x) ? !std::isnan(y) : std::memcmp(&x, &y, sizeof x) != 0) return false;
  }
  return true;
}

void check_values(const ListKernels& tested, const ListKernels& scalar, Report& report) {
  constexpr std::size_t most = 2000;
  Outputs out(most * sizeof(float));
  for (const Dtype dtype : {Dtype::float16, Dtype::bfloat16, Dtype::int8}) {
    for (const Distribution& distribution : kDistributions) {
      Random random(2);
      Guarded values(most * width(dtype));
      distribution.fill(random, dtype, values.begin(), values.size() / width(dtype));
      values.seal();
      for (std::size_t count = 0; count <= most; count += count < 70 ? 1 : 193) {
        out.prepare(count * sizeof(float), 4 * (count % 16));
        const std::uint8_t* from = values.tail(count * width(dtype));
        report.compare(
            {dtype, distribution.name, {{{"count", count}}}},
            [&] {
              scalar.values[dtype](from, count, reinterpret_cast<float*>(out.expected()));
              tested.values[dtype](from, count, reinterpret_cast<float*>(out.actual()));
            },
            [&] {
              const bool same = same_numbers(out.expected(), out.actual(), count);
              std::memcpy(out.expected(), out.actual(), count * sizeof(float));
              return same && out.agree();  // wrote nothing else
            });
      }
    }
  }
}

float float_at(const std::uint8_t* floats, std::size_t i) {
  float x;
  std::memcpy(&x, floats + i * sizeof x, sizeof x);
  return x;
}

void check_product(const ListKernels& tested, Report& report) {
  constexpr std::size_t columns = 300;
  const Distribution& normal = called("normal");
  Outputs out(kMostListBatch * sizeof(float));
  for (const std::size_t batch : kListBatches) {
    Random random(batch);
    // x ends where the next byte faults: 300 columns of 8 rows and more are whole lines.
    Guarded memory(columns * batch * sizeof(float));
    const std::uint8_t* const x = memory.tail(columns * batch * sizeof(float));
    normal.fill(random, Dtype::float32, memory.begin(), memory.size() / sizeof(float));
    memory.seal();
    for (std::size_t count = 0; count <= columns; count += count < 40 ? 1 : 37) {
      // The list touches a forbidden page, too.
      Guarded places(columns * sizeof(std::uint16_t)), values(columns * sizeof(float));
      auto* const at = places.end() - count * sizeof(std::uint16_t);
      auto* const of = values.end() - count * sizeof(float);
      normal.fill(random, Dtype::float32, of, count);
      for (std::size_t i = 0; i < count; ++i) {
        const auto column =
            static_cast<std::uint16_t>(i + 1 == count ? columns - 1 : random.below(columns));
        std::memcpy(at + i * sizeof column, &column, sizeof column);
      }
      out.prepare(batch * sizeof(float), 4 * (count % 16));
      std::fill_n(reinterpret_cast<float*>(out.actual()), batch, 1.0f);
      const List list{reinterpret_cast<const std::uint16_t*>(at),
                      reinterpret_cast<const float*>(of), count};
      report.compare(
          {Dtype::float32, normal.name, {{{"count", count}, {"batch", batch}}}},
          [&] {
            tested.product(list, reinterpret_cast<const float*>(x), batch,
                           reinterpret_cast<float*>(out.actual()));
          },
          [&] {
            for (std::size_t b = 0; b < batch; ++b) {
              double exact = 1, magnitude = 1;
              for (std::size_t i = 0; i < count; ++i) {
                const double term = static_cast<double>(list.values[i]) *
                                    static_cast<double>(float_at(x, list.columns[i] * batch + b));
                exact += term;
                magnitude += std::fabs(term);
              }
              const double error = std::fabs(float_at(out.actual(), b) - exact);
              if (!(error <= static_cast<double>(count + 1) * 0x1.01p-24 * magnitude)) return false;
            }
            std::memcpy(out.expected(), out.actual(), batch * sizeof(float));
            return out.agree();  // wrote nothing else
          });
    }
  }
}

}  // namespace

void check_lists(const Kernels& tested, Report& report) {
  const ListKernels& scalar = *kernels_for(Isa::scalar)->lists;
  report.begin(tested.isa, "lists");
  check_columns(*tested.lists, scalar, report);
  check_values(*tested.lists, scalar, report);
  check_product(*tested.lists, report);
  report.end();
}

}  // namespace prunepack::check
