// Puts a packed matrix into panels: surveys its masks, chooses a layout, and writes each panel.
#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <stdexcept>

#include "layout_choice.h"
#include "panel_survey.h"
#include "panel_writers.h"
#include "prunepack/linear.h"
#include "prunepack/threads.h"
#include "scratch.h"

namespace prunepack {
namespace {

// Zeroed memory for panels, and for what kernels may read behind them.
std::shared_ptr<std::uint8_t> zeroed(std::size_t bytes) {
  const ScratchBlock block = allocate_block(bytes + kPanelAlignment);
  std::memset(block.memory, 0, block.bytes);
  return {static_cast<std::uint8_t*>(block.memory),
          [](std::uint8_t* panels) { std::free(panels); }};
}

template <class Bits>
void write_panel(const PanelSource<Bits>& from, PanelStream out) {
  switch (from.matrix.layout) {
    case Layout::dense:
      return write_dense(from, out);
    case Layout::bitmask:
      return write_bitmask(from, out);
    case Layout::nm4:
      return write_nm<4>(from, out);
    case Layout::nm16:
      return write_nm<16>(from, out);
    case Layout::blocks:
      return write_blocks(from, out);
    case Layout::index:
      return write_index(from, out);
  }
}

template <class Bits>
void write_panels(const Kernels& kernels, const PackedMatrix& matrix,
                  const std::vector<std::size_t>& offsets, const Prepared& prepared,
                  std::uint8_t* panels, unsigned threads) {
  const std::size_t panel_count = prepared.panel_count();
  const std::size_t tasks = std::min<std::size_t>(panel_count, 4 * threads);
  parallel_for(tasks, threads, [&](std::size_t task) {
    PanelMask mask(matrix, prepared.blocks);
    PanelElements<Bits> elements(kernels, matrix, prepared.blocks);
    const std::size_t end = panel_count * (task + 1) / tasks;
    for (std::size_t i = panel_count * task / tasks; i < end; ++i) {
      mask.read(i);
      elements.read(i, offsets);
      for (std::size_t stripe = 0; stripe < prepared.stripe_count(); ++stripe) {
        write_panel<Bits>(
            {mask, elements, prepared, prepared.stripes[stripe], prepared.stripe_blocks(stripe)},
            PanelStream(panels + prepared.offsets[stripe * panel_count + i]));
      }
    }
  });
}

std::vector<std::int32_t> row_sums(const PackedMatrix& matrix,
                                   const std::vector<std::size_t>& offsets) {
  const auto* values = static_cast<const std::int8_t*>(matrix.values);
  std::vector<std::int32_t> sums(matrix.rows);
  for (std::size_t row = 0; row < matrix.rows; ++row) {
    for (std::size_t i = offsets[row]; i < offsets[row + 1]; ++i) sums[row] += values[i];
  }
  return sums;
}

// Equal stripes of whole chunks. A panel and the activations it is multiplied with fit into an L1
// cache of 32 KiB together, with room for what is fetched ahead: activations that the panel drives
// out are missed by the next one. But panels must not be so short that the calls count. `kept` is
// the part of the elements that panels hold.
std::vector<std::size_t> stripes_of(const Prepared& prepared, double kept) {
  constexpr double in_l1 = 24 * 1024, least_chunks = 8, most_chunks = 64;
  const double element_bytes = 0.125 + kept * static_cast<double>(width(prepared.dtype));
  const double chunk_bytes =
      kChunkBlocks * kBlockColumns * (sizeof(float) + kPanelRows * element_bytes);
  const auto most =
      static_cast<std::size_t>(std::clamp(in_l1 / chunk_bytes, least_chunks, most_chunks));
  const std::size_t chunks = prepared.blocks / kChunkBlocks;
  const std::size_t stripes = std::max<std::size_t>((chunks + most - 1) / most, 1);
  std::vector<std::size_t> firsts;
  for (std::size_t i = 0; i <= stripes; ++i) firsts.push_back(chunks * i / stripes * kChunkBlocks);
  return firsts;
}

// The part of a matrix's elements that is kept.
double density(const Prepared& prepared) {
  const auto elements = static_cast<double>(std::max<std::size_t>(prepared.rows, 1) *
                                            std::max<std::size_t>(prepared.columns, 1));
  return static_cast<double>(prepared.row_offsets.back()) / elements;
}

// Where each panel goes, and how much work comes before it.
void place_panels(const PanelSurvey& survey, Prepared& prepared) {
  prepared.offsets = {0};
  prepared.work.assign(prepared.panel_count() + 1, 0);
  for (std::size_t stripe = 0; stripe < prepared.stripe_count(); ++stripe) {
    for (std::size_t i = 0; i < prepared.panel_count(); ++i) {
      const std::size_t bytes =
          panel_bytes(survey.panel(stripe, i), prepared, prepared.stripe_blocks(stripe));
      prepared.offsets.push_back(prepared.offsets.back() + bytes);
      prepared.work[i + 1] += bytes;
    }
  }
  std::partial_sum(prepared.work.begin(), prepared.work.end(), prepared.work.begin());
}

bool has_kernels(Dtype dtype) {
  return dtype == Dtype::float32 || dtype == Dtype::float16 || dtype == Dtype::bfloat16 ||
         dtype == Dtype::int8;
}

}  // namespace

Prepared prepare(const Kernels& kernels, const PackedMatrix& matrix, std::optional<Layout> wanted,
                 Activations activations, unsigned threads) {
  if (!has_kernels(matrix.dtype)) {
    throw std::invalid_argument("weights must be float32, float16, bfloat16 or int8");
  }
  Prepared prepared{};
  prepared.dtype = matrix.dtype;
  prepared.rows = matrix.rows;
  prepared.columns = matrix.columns;
  // Without rows there is nothing to put into panels, however many columns.
  const std::size_t columns = matrix.rows > 0 ? matrix.columns : 0;
  prepared.blocks = round_up(columns, kChunkBlocks * kBlockColumns) / kBlockColumns;
  prepared.packed = matrix;
  prepared.row_offsets = row_offsets(kernels, matrix);
  prepared.stripes = stripes_of(prepared, density(prepared));

  PanelSurvey survey(matrix, prepared, threads);
  const LayoutChoice choice = choose_layout(survey, prepared, kernels.isa, activations, wanted);
  prepared.layout = choice.layout;
  prepared.kept = choice.kept;
  prepared.breadth = choice.breadth;
  if (prepared.layout == Layout::dense) {
    prepared.stripes = stripes_of(prepared, 1);
    survey = PanelSurvey(matrix, prepared, threads);
  }
  place_panels(survey, prepared);

  const std::vector<std::size_t>& offsets = prepared.row_offsets;
  const std::shared_ptr<std::uint8_t> panels = zeroed(prepared.nbytes());
  if (width(matrix.dtype) == 4) {
    write_panels<std::uint32_t>(kernels, matrix, offsets, prepared, panels.get(), threads);
  } else if (width(matrix.dtype) == 2) {
    write_panels<std::uint16_t>(kernels, matrix, offsets, prepared, panels.get(), threads);
  } else {
    write_panels<std::uint8_t>(kernels, matrix, offsets, prepared, panels.get(), threads);
    prepared.row_sums = row_sums(matrix, offsets);
  }
  prepared.panels = panels;
  return prepared;
}

}  // namespace prunepack
