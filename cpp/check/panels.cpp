// Panel products, held to sums in float64 of the matrix that the panels were made of: by a bound
// from the condition number of each sum, and exactly for integers. Scalar, the definition, is held
// to them too, and with it the writing of panels.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "check.h"
#include "matrices.h"
#include "memory.h"

namespace prunepack::check {
namespace {

constexpr const char* kLayoutNames[kLayouts] = {"panel_dense", "panel_bitmask", "panel_nm4",
                                                "panel_nm16",  "panel_blocks",  "panel_index",
                                                "csr"};

struct Factors {
  Product product;
  Dtype weights, activations;
};
constexpr Factors kFactors[kProducts] = {
    {Product::float32_float32, Dtype::float32, Dtype::float32},
    {Product::float16_float32, Dtype::float16, Dtype::float32},
    {Product::bfloat16_float32, Dtype::bfloat16, Dtype::float32},
    {Product::int8_float32, Dtype::int8, Dtype::float32},
    {Product::bfloat16_bfloat16, Dtype::bfloat16, Dtype::bfloat16},
    {Product::int8_int8, Dtype::int8, Dtype::uint8}};

struct Size {
  std::size_t rows, columns;
};
constexpr Size kSizes[] = {{17, 63},  {16, 200}, {1, 1},  {3, 1030}, {16, 64},  {15, 65},
                           {33, 128}, {5, 257},  {40, 5}, {16, 16},  {18, 320}, {2, 4100}};

// Activations as kernels want them, beside a page that faults.
class Arranged {
 public:
  Arranged(Random& random, Dtype dtype, const Distribution& distribution, std::size_t blocks,
           std::size_t batch, std::size_t columns, bool from_start)
      : dtype_(dtype),
        batch_(batch),
        memory_(blocks * kBlockColumns * batch * width(dtype)),
        bytes_(blocks * kBlockColumns * batch * width(dtype)),
        from_start_(from_start) {
    const std::size_t count = blocks * kBlockColumns * batch;
    std::vector<std::uint8_t> elements(count * width(dtype));
    distribution.fill(random, dtype, elements.data(), count);
    const std::uint8_t beyond = dtype == Dtype::uint8 ? 128 : 0;
    for (std::size_t column = columns; column < blocks * kBlockColumns; ++column) {
      for (std::size_t b = 0; b < batch; ++b) {
        std::fill_n(elements.begin() + static_cast<std::ptrdiff_t>(place(b, column) * width(dtype)),
                    width(dtype), beyond);
      }
    }
    std::memcpy(start(), elements.data(), bytes_);
    memory_.seal();
  }

  const void* from(std::size_t block) const {
    return start() + block * kBlockColumns * batch_ * width(dtype_);
  }
  double at(std::size_t b, std::size_t column) const {
    return number_at(dtype_, start(), place(b, column));
  }

 private:
  std::size_t place(std::size_t b, std::size_t column) const {
    return (column / kBlockColumns * batch_ + b) * kBlockColumns + column % kBlockColumns;
  }
  std::uint8_t* start() const { return from_start_ ? memory_.begin() : memory_.end() - bytes_; }

  Dtype dtype_;
  std::size_t batch_;
  Guarded memory_;
  std::size_t bytes_;
  bool from_start_;
};

// Panels at the end of memory, with the 64 bytes that may be read but must not matter, or at its
// beginning.
class GuardedPanels {
 public:
  explicit GuardedPanels(const Prepared& prepared)
      : low_(prepared.nbytes() + kPanelAlignment), high_(prepared.nbytes() + kPanelAlignment) {
    low_at_ = low_.begin();
    high_at_ = high_.end() - prepared.nbytes() - kPanelAlignment;
    for (std::uint8_t* at : {low_at_, high_at_}) {
      std::memcpy(at, prepared.panels.get(), prepared.nbytes());
      std::memset(at + prepared.nbytes(), 0xff, kPanelAlignment);  // NaNs
    }
    low_.seal();
    high_.seal();
  }
  const std::uint8_t* data(bool from_start) const { return from_start ? low_at_ : high_at_; }

 private:
  Guarded low_, high_;
  std::uint8_t *low_at_, *high_at_;
};

constexpr double kLeastNormal = 0x1p-126, kLeastSubnormal = 0x1p-149;

// One sum over a stripe of columns: what it is in float64, and how far from that float32 may end.
class Sum {
 public:
  Sum(const Matrix& matrix, const Arranged& x, std::size_t row, std::size_t b, std::size_t begin,
      std::size_t end, Product product)
      : product_(product) {
    for (std::size_t column = begin; column < std::min(end, matrix.columns()); ++column) {
      if (!matrix.keeps(row, column)) continue;
      add(matrix.at(row, column), x.at(b, column));
    }
  }

  bool admits(const std::uint8_t* bytes) const {
    if (product_ == Product::int8_int8) {
      std::int32_t sum;
      std::memcpy(&sum, bytes, sizeof sum);
      return sum == exact_;
    }
    float sum;
    std::memcpy(&sum, bytes, sizeof sum);
    if (std::isnan(exact_)) return std::isnan(sum);
    if (std::isinf(exact_)) return sum == static_cast<float>(exact_);
    if (magnitude_ > std::numeric_limits<float>::max()) return true;  // may overflow on the way
    return std::fabs(sum - exact_) <=
           (terms_ + 1) * (0x1.01p-24 * magnitude_ + kLeastSubnormal) + flushed_;
  }

 private:
  void add(double weight, double x) {
    exact_ += weight * x;
    magnitude_ += std::fabs(weight * x);
    ++terms_;
    if (product_ != Product::bfloat16_bfloat16) return;
    const bool subnormal = std::fabs(weight) < kLeastNormal || std::fabs(x) < kLeastNormal;
    flushed_ += 2 * kLeastNormal + (subnormal ? std::fabs(weight * x) : 0);
  }

  Product product_;
  double exact_ = 0, magnitude_ = 0, flushed_ = 0, terms_ = 0;
};

struct Trial {
  const Matrix& matrix;
  const Prepared& prepared;
  const GuardedPanels& panels;
  const Factors& factors;
  Case what;
};

bool right(const Trial& trial, std::size_t stripe, std::size_t panel, const Arranged& x,
           std::size_t batch, Outputs& out) {
  const std::size_t begin = trial.prepared.stripes[stripe] * kBlockColumns;
  const std::size_t end = trial.prepared.stripes[stripe + 1] * kBlockColumns;
  for (std::size_t b = 0; b < batch; ++b) {
    for (std::size_t lane = 0; lane < kPanelRows; ++lane) {
      const Sum sum(trial.matrix, x, panel * kPanelRows + lane, b, begin, end,
                    trial.factors.product);
      if (!sum.admits(out.actual() + (b * kPanelRows + lane) * sizeof(float))) return false;
    }
  }
  std::memcpy(out.expected(), out.actual(), batch * kPanelRows * sizeof(float));
  return out.agree();  // wrote nothing else
}

// Activations that take turns: ordinary ones, and ones that make sums exact.
const Distribution& activations(Dtype dtype, std::size_t turn) {
  if (dtype == Dtype::uint8) return kDistributions[0];  // all bytes
  return distribution_called(turn % 3 == 0 ? "levels" : "normal");
}

void check_product(PanelProduct kernel, const Trial& trial, std::size_t turn, Report& report) {
  Outputs out(kMostBatch * kPanelRows * sizeof(float));
  Random random(turn + 1);
  for (const std::size_t batch : kBatches) {
    const bool from_start = (turn + batch) % 3 == 0;
    const Prepared& prepared = trial.prepared;
    const Arranged x(random, trial.factors.activations,
                     activations(trial.factors.activations, turn), prepared.blocks, batch,
                     trial.matrix.columns(), from_start);
    for (std::size_t i = 0; i < prepared.offsets.size() - 1; ++i) {
      const std::size_t stripe = i / prepared.panel_count(), panel = i % prepared.panel_count();
      const PanelShape shape{prepared.stripe_blocks(stripe), prepared.kept, prepared.breadth,
                             batch};
      Case what = trial.what;
      what.parameters[2] = {"batch", batch};
      what.parameters[3] = {"panel", i};
      out.prepare(batch * kPanelRows * sizeof(float), 4 * (turn % 16));
      report.compare(
          what,
          [&] {
            kernel(shape, trial.panels.data(from_start) + prepared.offsets[i],
                   x.from(prepared.stripes[stripe]), out.actual());
          },
          [&] { return right(trial, stripe, panel, x, batch, out); });
    }
  }
}

void check_layout(const Kernels& tested, Layout layout, Effort effort, Report& report) {
  const Kernels& scalar = *kernels_for(Isa::scalar);
  std::size_t turn = 0;
  for (const Factors& factors : kFactors) {
    const PanelProduct kernel = panel_product(tested, layout, factors.product);
    if (kernel == nullptr) continue;
    for (std::size_t i = 0; i < std::size(kSizes); ++i) {
      for (std::size_t j = 0; j < kPatterns.size(); ++j, ++turn) {
        if (effort == Effort::quick && (i + j) % 4 != turn / kPatterns.size() % 3) continue;
        const Distribution& distribution = kDistributions[turn % kDistributions.size()];
        const Matrix matrix(factors.weights, kSizes[i].rows, kSizes[i].columns, kPatterns[j],
                            distribution, turn);
        const Prepared prepared = prepare(scalar, matrix.packed(), layout, Activations::float32, 1);
        const GuardedPanels panels(prepared);
        const Case what{factors.weights,
                        kPatterns[j].name,
                        {{{"rows", matrix.rows()}, {"columns", matrix.columns()}}}};
        check_product(kernel, {matrix, prepared, panels, factors, what}, turn, report);
      }
    }
  }
}

// linear(): the same bytes with any number of threads.

constexpr Activations kActivations[] = {Activations::float32, Activations::bfloat16,
                                        Activations::int8};

bool takes(Dtype weights, Activations activations) {
  if (activations == Activations::bfloat16) return weights == Dtype::bfloat16;
  return activations == Activations::float32 || weights == Dtype::int8;
}

void compare_linear(const Kernels& tested, Effort effort, Report& report) {
  const Distribution& normal = activations(Dtype::float32, 1);
  const Pattern& uneven = kPatterns[1];
  // Quick is what the thread sanitizer can do with scalar kernels in a minute.
  const bool quick = effort == Effort::quick;
  const std::size_t rows = quick ? 150 : 1000, columns = 1100;
  const std::vector<std::size_t> batches =
      quick ? std::vector<std::size_t>{3, 37} : std::vector<std::size_t>{1, 3, 37};
  std::vector<float> x(37 * columns), scales(rows, 0.5f);
  Random random(1);
  normal.fill(random, Dtype::float32, reinterpret_cast<std::uint8_t*>(x.data()), x.size());
  for (const Dtype dtype : {Dtype::float32, Dtype::float16, Dtype::bfloat16, Dtype::int8}) {
    const Matrix matrix(dtype, rows, columns, uneven, normal, 1);
    for (std::size_t i = 0; i < kLayouts; ++i) {
      const Prepared prepared =
          prepare(tested, matrix.packed(), static_cast<Layout>(i), Activations::float32, 1);
      for (const Activations to : kActivations) {
        if (!takes(dtype, to)) continue;
        for (const std::size_t batch : batches) {
          const auto result = [&](unsigned threads) {
            std::vector<float> y(batch * rows, -1);
            linear(tested, prepared, {x.data(), batch, to, scales.data(), scales.data(), y.data()},
                   threads);
            return y;
          };
          const std::vector<float> on_one = result(1);
          for (const unsigned threads : {2u, 5u}) {
            const std::vector<float> on_more = result(threads);
            report.compare(
                {dtype, kLayoutNames[i], {{{"batch", batch}, {"threads", threads}}}}, [] {},
                [&] {
                  return std::memcmp(on_one.data(), on_more.data(), batch * rows * sizeof(float)) ==
                         0;
                });
          }
        }
      }
    }
  }
}

}  // namespace

void check_panels(const Kernels& tested, Effort effort, Report& report) {
  for (std::size_t i = 0; i < kPanelLayouts; ++i) {
    report.begin(tested.isa, kLayoutNames[i]);
    check_layout(tested, static_cast<Layout>(i), effort, report);
    report.end();
  }
}

void check_linear(const Kernels& tested, Effort effort, Report& report) {
  report.begin(tested.isa, "linear");
  compare_linear(tested, effort, report);
  report.end();
}

}  // namespace prunepack::check
