// Makes a packed matrix ready for computing: surveys its masks, chooses a layout, and writes each
// panel, or the lists.
#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <stdexcept>

#include "layout_choice.h"
#include "panel_survey.h"
#include "panel_writers.h"
#include "prunepack/linear.h"
#include "prunepack/threads.h"
#include "row_lists.h"
#include "scratch.h"

namespace prunepack {
namespace {

template <class Item>
std::shared_ptr<Item> shared(const ScratchBlock& block) {
  return {static_cast<Item*>(block.memory), [](Item* memory) { std::free(memory); }};
}

// Memory for panels that is set to zeros: they have gaps, and kernels read beyond their end.
std::shared_ptr<std::uint8_t> zeroed(std::size_t bytes) {
  const ScratchBlock block = allocate_block(bytes + kPanelAlignment);
  std::memset(block.memory, 0, block.bytes);
  return shared<std::uint8_t>(block);
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
    case Layout::csr:
      break;  // has no panels
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

// Writes the panels of a matrix that is surveyed.
void make_panels(const Kernels& kernels, const PanelSurvey& survey, Prepared& prepared,
                 unsigned threads) {
  place_panels(survey, prepared);
  const PackedMatrix& matrix = prepared.packed;
  const std::vector<std::size_t>& offsets = prepared.row_offsets;
  const auto panels = zeroed(prepared.nbytes());
  if (width(matrix.dtype) == 4) {
    write_panels<std::uint32_t>(kernels, matrix, offsets, prepared, panels.get(), threads);
  } else if (width(matrix.dtype) == 2) {
    write_panels<std::uint16_t>(kernels, matrix, offsets, prepared, panels.get(), threads);
  } else {
    write_panels<std::uint8_t>(kernels, matrix, offsets, prepared, panels.get(), threads);
    prepared.row_sums = row_sums(matrix, offsets);
  }
  prepared.panels = panels;
}

// Where the list of each row begins, stripe after stripe, and the end.
std::vector<std::size_t> list_begins(const Kernels& kernels, const Prepared& prepared) {
  const std::size_t stripes = list_stripes(prepared.columns);
  std::vector<std::size_t> begins(stripes * prepared.rows + 1);
  for (std::size_t row = 0; row < prepared.rows; ++row) {
    for (std::size_t stripe = 0; stripe < stripes; ++stripe) {
      const StripeMask mask(prepared.packed, row, stripe);
      begins[stripe * prepared.rows + row + 1] = kernels.count_bits(mask.begin, mask.bytes);
    }
  }
  std::partial_sum(begins.begin(), begins.end(), begins.begin());
  return begins;
}

// Writes the lists of a matrix, and copies its values, because they are read at half the speed
// where they do not lie on huge pages, or one stripe after the other. Kernels may write beyond a
// list, where another is, so each is written elsewhere first.
void make_lists(const Kernels& kernels, Prepared& prepared, unsigned threads) {
  prepared.list_begins = list_begins(kernels, prepared);
  const std::vector<std::size_t>& begins = prepared.list_begins;
  const std::size_t bytes = width(prepared.dtype), stripes = list_stripes(prepared.columns);
  const auto columns = shared<std::uint16_t>(allocate_block(begins.back() * sizeof(std::uint16_t)));
  const auto values = shared<std::uint8_t>(allocate_block(begins.back() * bytes));
  parallel_for(prepared.panel_count(), threads, [&](std::size_t panel) {
    Scratch<std::uint16_t> room(kListRoom);
    const std::size_t end = std::min(prepared.rows, (panel + 1) * kPanelRows);
    for (std::size_t row = panel * kPanelRows; row < end; ++row) {
      const auto* packed = static_cast<const std::uint8_t*>(prepared.packed.values) +
                           prepared.row_offsets[row] * bytes;
      for (std::size_t stripe = 0; stripe < stripes; ++stripe) {
        const std::size_t* const begin = begins.data() + stripe * prepared.rows + row;
        const std::size_t count = begin[1] - begin[0];
        const StripeMask mask(prepared.packed, row, stripe);
        kernels.lists->columns(mask.begin, mask.bytes, room.get());
        std::copy_n(room.get(), count, columns.get() + *begin);
        std::copy_n(packed, count * bytes, values.get() + *begin * bytes);
        packed += count * bytes;
      }
    }
  });
  prepared.list_columns = columns;
  prepared.list_values = values;
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
  if (prepared.layout == Layout::csr) {
    make_lists(kernels, prepared, threads);
    return prepared;
  }
  if (prepared.layout == Layout::dense) {
    prepared.stripes = stripes_of(prepared, 1);
    survey = PanelSurvey(matrix, prepared, threads);
  }
  make_panels(kernels, survey, prepared, threads);
  return prepared;
}

}  // namespace prunepack
