// Lists: their columns and values are those of the scalar kernels, and products with them are held
// to sums in float64.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <vector>

#include "check.h"
#include "matrices.h"
#include "memory.h"
#include "weights.h"

namespace prunepack::check {
namespace {

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

// Lists whose columns and values touch a forbidden page. Every second list is looked at.
class TestLists {
 public:
  TestLists(Dtype dtype, std::size_t count, std::size_t columns, std::size_t most, Random& random)
      : dtype_(dtype) {
    for (std::size_t i = 0; i <= 2 * count; ++i) {
      begins_.push_back(i == 0 ? kFirst : begins_.back() + random.below(most + 1));
    }
    begins_[2 * count] = begins_[2 * count - 1];  // the last that is looked at ends at the page
    const std::size_t kept = begins_.back() - kFirst;
    places_.emplace(kept * sizeof(std::uint16_t) + 1);  // pages even of nothing
    values_.emplace(kept * width(dtype) + 1);
    distribution_called("normal").fill(random, dtype, values(), kept);
    for (std::size_t i = 0; i < kept; ++i) {
      const auto column =
          static_cast<std::uint16_t>(i + 1 == kept ? columns - 1 : random.below(columns));
      std::memcpy(places() + i * sizeof column, &column, sizeof column);
    }
    lists_ = {.columns = reinterpret_cast<const std::uint16_t*>(places()),
              .values = values(),
              .begins = begins_.data(),
              .stride = 2,
              .count = count,
              .readable = kept};
  }

  const Lists& get() const { return lists_; }

  // List i, as if nothing were behind it.
  Lists alone(std::size_t i) const {
    const std::size_t before = begins_[2 * i] - kFirst;
    return {.columns = lists_.columns + before,
            .values = static_cast<const std::uint8_t*>(lists_.values) + before * width(dtype_),
            .begins = begins_.data() + 2 * i,
            .stride = 2,
            .count = 1,
            .readable = begins_[2 * i + 1] - begins_[2 * i]};
  }

  // Of list i, each value with its column.
  template <class Visit>
  void visit(std::size_t i, const Visit& visit) const {
    for (std::size_t e = begins_[2 * i] - kFirst; e < begins_[2 * i + 1] - kFirst; ++e) {
      visit(number_at(dtype_, lists_.values, e), std::size_t{lists_.columns[e]});
    }
  }

 private:
  static constexpr std::size_t kFirst = 1000;  // begins are counted from the first

  std::uint8_t* places() { return places_->end() - (begins_.back() - kFirst) * 2; }
  std::uint8_t* values() { return values_->end() - (begins_.back() - kFirst) * width(dtype_); }

  Dtype dtype_;
  std::vector<std::size_t> begins_;
  std::optional<Guarded> places_, values_;
  Lists lists_{};
};

// Runs a product with lists and holds its sums, to which 1 is added, to those in float64.
template <class Product>
void compare_sums(Dtype dtype, std::size_t batch, Report& report, const Product& product) {
  constexpr std::size_t columns = 304;
  Outputs out(40 * kMostListBatch * sizeof(float));
  for (std::size_t count = 1; count <= 40; count += count < 4 ? 1 : 9) {
    for (const std::size_t most : {0u, 3u, 7u, 8u, 17u, 40u, 150u}) {
      Random random(batch * 100'000 + count * 1000 + most);
      // x ends where the next byte faults: so many columns are whole lines.
      Guarded memory(columns * batch * sizeof(float));
      const std::uint8_t* const x = memory.tail(columns * batch * sizeof(float));
      distribution_called("normal").fill(random, Dtype::float32, memory.begin(),
                                         memory.size() / sizeof(float));
      memory.seal();
      const TestLists lists(dtype, count, columns, most, random);
      out.prepare(count * batch * sizeof(float), 4 * (count % 16));
      std::fill_n(reinterpret_cast<float*>(out.actual()), count * batch, 1.0f);
      report.compare(
          {dtype, "normal", {{{"lists", count}, {"most", most}, {"batch", batch}}}},
          [&] {
            product(lists.get(), reinterpret_cast<const float*>(x),
                    reinterpret_cast<float*>(out.actual()));
          },
          [&] {
            for (std::size_t i = 0; i < count * batch; ++i) {
              double exact = 1, magnitude = 1, terms = 1;
              lists.visit(i / batch, [&](double value, std::size_t column) {
                const double term =
                    value * static_cast<double>(float_at(x, column * batch + i % batch));
                exact += term;
                magnitude += std::fabs(term);
                ++terms;
              });
              const double error = std::fabs(float_at(out.actual(), i) - exact);
              if (!(error <= terms * 0x1.01p-24 * magnitude)) return false;
            }
            std::memcpy(out.expected(), out.actual(), count * batch * sizeof(float));
            return out.agree();  // wrote nothing else
          });
    }
  }
}

// Threads cut the lists of a matrix into pieces, at whose ends nothing may be read: each list alone
// must have the sum, bit by bit, that it has before others.
void check_ends(Dtype dtype, ListDots dots, Report& report) {
  constexpr std::size_t columns = 304, count = 40;
  for (const std::size_t most : {3u, 17u, 40u, 150u}) {
    Random random(most);
    std::vector<std::uint8_t> x(columns * sizeof(float));
    distribution_called("normal").fill(random, Dtype::float32, x.data(), columns);
    const TestLists lists(dtype, count, columns, most, random);
    const auto* const floats = reinterpret_cast<const float*>(x.data());
    std::vector<float> together(count), alone(count);
    report.compare(
        {dtype, "normal", {{{"lists alone", count}, {"most", most}}}},
        [&] {
          dots(lists.get(), floats, together.data());
          for (std::size_t i = 0; i < count; ++i) dots(lists.alone(i), floats, &alone[i]);
        },
        [&] { return std::memcmp(together.data(), alone.data(), count * sizeof(float)) == 0; });
  }
}

void check_product(const ListKernels& tested, Report& report) {
  for (const std::size_t batch : kListBatches) {
    compare_sums(Dtype::float32, batch, report, [&](const Lists& lists, const float* x, float* y) {
      tested.product(lists, x, batch, y);
    });
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

void check_list_dots(const Kernels& tested, Report& report) {
  report.begin(tested.isa, "list_dots");
  for (const Dtype dtype : {Dtype::float32, Dtype::float16, Dtype::bfloat16, Dtype::int8}) {
    compare_sums(dtype, 1, report, (*tested.list_dots)[dtype]);
    check_ends(dtype, (*tested.list_dots)[dtype], report);
  }
  report.end();
}

}  // namespace prunepack::check
