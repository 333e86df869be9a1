#include "layout_choice.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace prunepack {
namespace {

// What computing with a register of 64 bytes costs, in the time that it takes to read 64 bytes
// from memory. Above 1 a layout is bound by what the processor has to do.
struct Costs {
  double dense, bitmask, nm4, nm16, blocks;
  double index;  // of a slot
  double csr;    // of an element kept
};

// Of a layout that is only used where it is asked for.
constexpr double kNever = std::numeric_limits<double>::infinity();

// Measured on Zen 4 (GCC 12), one row of activations. (Lists were not measured beside the index.)
Costs costs_of_avx512(Dtype dtype, Activations activations) {
  switch (dtype) {
    case Dtype::float16:
      return {0.5, 0.72, 0.8, 0.8, 0.7, 0.7, kNever};
    case Dtype::bfloat16:
      if (activations == Activations::bfloat16) return {0.32, 0.44, 0.41, 0.5, 0.55, 0.7, kNever};
      return {0.54, 0.59, 0.78, 0.68, 0.55, 0.7, kNever};
    case Dtype::int8:
      if (activations == Activations::int8) return {0.4, 0.56, 0.45, 0.45, 1.1, 0.85, kNever};
      return {0.95, 1.3, 1.2, 1.2, 1.1, 0.78, kNever};
    default:
      return {0.31, 0.37, 0.36, 0.36, 0.35, 1, kNever};
  }
}

// The same, where memory was faster. Lists cost 0.15 to 0.2 with one row of activations, but with
// two to eight they are slower than dense panels up to the sparsity that these numbers stand for.
Costs costs_of_avx2(Dtype dtype) {
  switch (dtype) {
    case Dtype::float16:
      return {0.63, 1.32, 1, 2, 1.15, kNever, 0.3};
    case Dtype::bfloat16:
      return {0.66, 1.22, 1, 2, 1.2, kNever, 0.28};
    case Dtype::int8:
      return {1.3, 2.5, 2.4, 4.5, 2, kNever, 0.19};
    default:
      return {0.43, 0.65, 0.5, 0.95, 0.6, kNever, 0.225};
  }
}

Costs costs_of(Isa isa, Dtype dtype, Activations activations) {
  switch (isa) {
    case Isa::avx512:
      return costs_of_avx512(dtype, activations);
    case Isa::avx2:
      return costs_of_avx2(dtype);
    case Isa::neon:
      return {0.5, 2, 0.8, 0.8, 0.6, kNever, 0.3};
    default:
      return {8, 10, 10, 10, 9, kNever, 0.7};
  }
}

double registers_of(const Prepared& matrix) {
  const double elements =
      static_cast<double>(matrix.panel_count() * matrix.blocks) * kBlockColumns * kPanelRows;
  return elements * static_cast<double>(width(matrix.dtype)) / 64;
}

// The registers that a layout computes with, or the elements.
double registers_in(const PanelSurvey& survey, const Prepared& matrix) {
  const std::size_t parts = 4 / width(matrix.dtype);
  switch (matrix.layout) {
    case Layout::nm4:
    case Layout::nm16: {
      const std::size_t group = matrix.layout == Layout::nm4 ? 4 : 16;
      return static_cast<double>(matrix.panel_count() *
                                 nm_registers(matrix.blocks, group, parts, matrix.kept));
    }
    case Layout::blocks:
      return static_cast<double>(block_slots(survey.all(), matrix.breadth)) /
             static_cast<double>(parts);
    case Layout::index:
      return static_cast<double>(survey.all().index_slots);
    case Layout::csr:
      return static_cast<double>(survey.all().elements);
    default:
      return registers_of(matrix);
  }
}

double cost_of_register(Layout layout, const Costs& costs) {
  switch (layout) {
    case Layout::dense:
      return costs.dense;
    case Layout::bitmask:
      return costs.bitmask;
    case Layout::blocks:
      return costs.blocks;
    case Layout::index:
      return costs.index;
    case Layout::csr:
      return costs.csr;
    case Layout::nm4:
      return costs.nm4;
    default:
      return costs.nm16;
  }
}

double dense_size(const Prepared& matrix) { return registers_of(matrix) * kRegisterBytes; }

// A matrix that fits into a core's L2 cache, with room for other things, is taken to be there
// whenever it is used; where it is not, a product of it is short.
bool is_in_l2(const Prepared& matrix) { return dense_size(matrix) <= 512.0 * 1024; }

// What reading 64 bytes costs. A matrix as large as the L2 cache is partly there, if it is alone,
// and else in the L3 cache or in memory.
double cost_of_reading(const Prepared& matrix) {
  if (is_in_l2(matrix)) return 0.27;
  return dense_size(matrix) <= 1024.0 * 1024 ? 0.6 : 1;
}

// The time a product is likely to take, in that of reading 64 bytes from memory: reading and
// computing go on at the same time, but not quite.
double likely_time(const PanelSurvey& survey, const Prepared& matrix, const Costs& costs) {
  double bytes = 0;
  for (std::size_t stripe = 0; stripe < matrix.stripe_count(); ++stripe) {
    for (std::size_t i = 0; i < matrix.panel_count(); ++i) {
      bytes += static_cast<double>(
          panel_bytes(survey.panel(stripe, i), matrix, matrix.stripe_blocks(stripe)));
    }
  }
  const double reading = bytes / kRegisterBytes * cost_of_reading(matrix);
  const double computing = registers_in(survey, matrix) * cost_of_register(matrix.layout, costs);
  return std::max(reading, computing) + std::min(reading, computing) / 8;
}

std::size_t best_breadth(const PanelNeeds& all) {
  const auto& slots = all.block_slots;
  return kBreadths[std::min_element(slots.begin(), slots.end()) - slots.begin()];
}

// The layout with what it needs.
LayoutChoice with_needs(Layout layout, const PanelNeeds& all) {
  switch (layout) {
    case Layout::nm4:
      return {layout, std::max<std::size_t>(all.in_4, 1), 1};
    case Layout::nm16:
      return {layout, std::max<std::size_t>(all.in_16, 1), 1};
    case Layout::blocks:
      return {layout, 0, best_breadth(all)};
    default:
      return {layout, 0, 1};
  }
}

}  // namespace

std::size_t block_slots(const PanelNeeds& needs, std::size_t breadth) {
  return needs.block_slots[static_cast<std::size_t>(std::countr_zero(breadth))];
}

std::size_t panel_bytes(const PanelNeeds& needs, const Prepared& matrix, std::size_t blocks) {
  const std::size_t bytes = width(matrix.dtype), parts = 4 / bytes;
  if (matrix.layout == Layout::csr) return needs.elements * (sizeof(std::uint16_t) + bytes);
  const auto stream = [&] {
    switch (matrix.layout) {
      case Layout::dense:
        return blocks * kBlockColumns * kPanelRows * bytes;
      case Layout::bitmask:
        return blocks * kBlockMaskBytes + needs.elements * bytes;
      case Layout::nm4:
        return nm_registers(blocks, 4, parts, matrix.kept) *
               (position_bytes(parts, 2) + kRegisterBytes);
      case Layout::nm16:
        return nm_registers(blocks, 16, parts, matrix.kept) *
               (position_bytes(parts, 4) + kRegisterBytes);
      case Layout::blocks:
        return kBandCountsBytes + block_slots(needs, matrix.breadth) / parts *
                                      (parts * sizeof(std::uint16_t) + kRegisterBytes);
      default:
        return blocks / kIndexBlocks + needs.index_slots * sizeof(std::uint16_t) +
               needs.elements * (1 + bytes);
    }
  };
  return round_up(stream(), kPanelAlignment);
}

LayoutChoice choose_layout(const PanelSurvey& survey, const Prepared& matrix, Isa isa,
                           Activations activations, std::optional<Layout> wanted) {
  if (wanted) return with_needs(*wanted, survey.all());
  const Costs costs = costs_of(isa, matrix.dtype, activations);
  LayoutChoice best{};
  double least = std::numeric_limits<double>::infinity();
  Prepared candidate = matrix;
  for (std::size_t i = 0; i < kLayouts; ++i) {
    const LayoutChoice choice = with_needs(static_cast<Layout>(i), survey.all());
    if (cost_of_register(choice.layout, costs) == kNever) continue;
    candidate.layout = choice.layout;
    candidate.kept = choice.kept;
    candidate.breadth = choice.breadth;
    double time = likely_time(survey, candidate, costs);
    // What gains little there with one row of activations loses with several, because weights that
    // are looked up cost more for each of them.
    if (choice.layout == Layout::dense && is_in_l2(matrix)) time *= 0.85;
    if (time < least) {
      least = time;
      best = choice;
    }
  }
  return best;
}

}  // namespace prunepack
