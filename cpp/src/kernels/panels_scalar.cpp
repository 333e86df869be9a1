// Panel products, scalar: the definition of the layouts. Each is a walk over the elements a panel
// holds, and what is done with them is the same for all.
#include <cstring>

#include "panel_walks.h"
#include "tables.h"
#include "value.h"

namespace prunepack::scalar {
namespace {

// The dtype of weights in a panel.
template <Dtype dtype>
struct Panel {
  static constexpr std::size_t kWidth = width(dtype), kParts = 4 / kWidth;
  static constexpr std::size_t kRegister = kPanelRows * kParts;  // elements

  static std::size_t element(std::size_t lane, std::size_t part) noexcept {
    return element_of(dtype == Dtype::float16, kParts, lane, part);
  }
  static std::size_t lane(std::size_t element) noexcept {
    return dtype == Dtype::float16 ? element % kPanelRows : element / kParts;
  }
  static std::size_t part(std::size_t element) noexcept {
    return dtype == Dtype::float16 ? element / kPanelRows : element % kParts;
  }
};

// Each walk calls visit(lane, column, values, i) for the elements values[i] of a panel.

// Visits a register; `column` says where a part of a lane stands.
template <class Panel, class Visit, class Column>
void visit_register(const std::uint8_t* cells, const Visit& visit, const Column& column) noexcept {
  for (std::size_t lane = 0; lane < kPanelRows; ++lane) {
    for (std::size_t part = 0; part < Panel::kParts; ++part) {
      visit(lane, column(lane, part), cells, Panel::element(lane, part));
    }
  }
}

template <class Panel, class Visit>
void walk_dense(const PanelShape& shape, const std::uint8_t* panel, const Visit& visit) noexcept {
  for (std::size_t s = 0; s < shape.blocks * kBlockColumns / Panel::kParts; ++s) {
    visit_register<Panel>(panel, visit, [&](std::size_t, std::size_t part) noexcept {
      return s * Panel::kParts + part;
    });
    panel += kRegisterBytes;
  }
}

template <class Panel, class Visit>
void walk_bitmask(const PanelShape& shape, const std::uint8_t* panel, const Visit& visit) noexcept {
  for (std::size_t block = 0; block < shape.blocks; ++block) {
    const std::uint8_t* values = panel + kBlockMaskBytes;
    for (std::size_t i = 0; i < 8 * kBlockMaskBytes; ++i) {
      if ((panel[i / 8] >> i % 8 & 1) == 0) continue;
      const std::size_t s = i / Panel::kRegister, e = i % Panel::kRegister;
      const std::size_t column = block * kBlockColumns + s * Panel::kParts + Panel::part(e);
      visit(Panel::lane(e), column, values, 0);
      values += Panel::kWidth;
    }
    panel = values;
  }
}

template <class Panel, std::size_t group, class Visit>
void walk_nm(const PanelShape& shape, const std::uint8_t* panel, const Visit& visit) noexcept {
  constexpr std::size_t parts = Panel::kParts, bits = group == 4 ? 2 : 4;
  const std::size_t registers = nm_registers(shape.blocks, group, parts, shape.kept);
  const std::size_t of_chunk = nm_registers(kChunkBlocks, group, parts, shape.kept);
  const std::uint8_t* positions = panel;
  for (std::size_t s = 0; s < registers; ++s) {
    if (s % of_chunk == 0) {
      positions = panel;
      panel += chunk_position_bytes(group, shape.kept);
    }
    visit_register<Panel>(panel, visit, [&](std::size_t lane, std::size_t part) noexcept {
      const PositionPlace place = position_place(parts, bits, lane, part);
      const std::size_t position = positions[place.byte] >> place.shift & (group - 1);
      return (s / shape.kept * parts + part) * group + position;
    });
    positions += position_bytes(parts, bits);
    panel += kRegisterBytes;
  }
}

template <class Panel, class Visit>
void walk_nm4(const PanelShape& shape, const std::uint8_t* panel, const Visit& visit) noexcept {
  walk_nm<Panel, 4>(shape, panel, visit);
}

template <class Panel, class Visit>
void walk_nm16(const PanelShape& shape, const std::uint8_t* panel, const Visit& visit) noexcept {
  walk_nm<Panel, 16>(shape, panel, visit);
}

template <class Panel, class Visit>
void walk_blocks(const PanelShape& shape, const std::uint8_t* panel, const Visit& visit) noexcept {
  const std::size_t breadth = shape.breadth, band_rows = kPanelRows / breadth;
  const std::uint8_t* next = panel + kBandCountsBytes;
  for (std::size_t band = 0; band < breadth; ++band) {
    const std::size_t slots = number_at<std::uint32_t>(panel, band);
    for (std::size_t slot = 0; slot < slots; slot += Panel::kParts) {
      const std::uint8_t* columns = next;
      next += Panel::kParts * sizeof(std::uint16_t);
      for (std::size_t part = 0; part < Panel::kParts; ++part) {
        const std::size_t first = number_at<std::uint16_t>(columns, part) * breadth;
        for (std::size_t i = 0; i < kPanelRows; ++i) {
          visit(band * band_rows + i / breadth, first + i % breadth, next, Panel::element(i, part));
        }
      }
      next += kRegisterBytes;
    }
  }
}

template <class Panel, class Visit>
void walk_index(const PanelShape& shape, const std::uint8_t* panel, const Visit& visit) noexcept {
  for (std::size_t block = 0; block < shape.blocks; block += kIndexBlocks) {
    const std::size_t slots = *panel++;
    const std::uint8_t* const masks = panel;
    panel += slots * sizeof(std::uint16_t);
    for (std::size_t slot = 0; slot < slots; ++slot) {
      const auto rows = number_at<std::uint16_t>(masks, slot);
      const std::uint8_t* column = panel;
      const std::uint8_t* values = column;
      for (std::size_t lane = 0; lane < kPanelRows; ++lane) values += rows >> lane & 1;
      std::size_t i = 0;
      for (std::size_t lane = 0; lane < kPanelRows; ++lane) {
        if ((rows >> lane & 1) == 0) continue;
        visit(lane, block * kBlockColumns + *column++, values, i++);
      }
      panel = values + i * Panel::kWidth;
    }
  }
}

template <Dtype weights, Dtype activations>
struct FloatProduct {
  static constexpr Dtype kWeights = weights;
  using Sum = float;
  static float of(const std::uint8_t* values, std::size_t i, const void* x,
                  std::size_t j) noexcept {
    return number<weights>(values, i) * number<activations>(static_cast<const std::uint8_t*>(x), j);
  }
};

struct IntProduct {
  static constexpr Dtype kWeights = Dtype::int8;
  using Sum = std::int32_t;
  static std::int32_t of(const std::uint8_t* values, std::size_t i, const void* x,
                         std::size_t j) noexcept {
    return static_cast<std::int8_t>(values[i]) * static_cast<const std::uint8_t*>(x)[j];
  }
};

// Adds up what a walk visits.
template <class Product, class Walk>
void add_up(const PanelShape& shape, const std::uint8_t* panel, const void* x, void* out,
            const Walk& walk) noexcept {
  using Sum = typename Product::Sum;
  Sum sums[kMostBatch][kPanelRows] = {};
  walk(shape, panel,
       [&](std::size_t lane, std::size_t column, const std::uint8_t* values, std::size_t i) {
         const std::size_t block = column / kBlockColumns * shape.batch;
         for (std::size_t b = 0; b < shape.batch; ++b) {
           sums[b][lane] +=
               Product::of(values, i, x, (block + b) * kBlockColumns + column % kBlockColumns);
         }
       });
  std::memcpy(out, sums, shape.batch * sizeof sums[0]);
}

#define PRUNEPACK_WALK(layout)                                                          \
  template <class Product>                                                              \
  void layout##_of(const PanelShape& shape, const std::uint8_t* panel, const void* x,   \
                   void* sums) noexcept {                                               \
    add_up<Product>(shape, panel, x, sums, [](const auto&... walk_arguments) noexcept { \
      walk_##layout<Panel<Product::kWeights>>(walk_arguments...);                       \
    });                                                                                 \
  }
PRUNEPACK_WALK(dense)
PRUNEPACK_WALK(bitmask)
PRUNEPACK_WALK(nm4)
PRUNEPACK_WALK(nm16)
PRUNEPACK_WALK(blocks)
PRUNEPACK_WALK(index)
#undef PRUNEPACK_WALK

}  // namespace

#define PRUNEPACK_PER_PRODUCT(function)                                                  \
  {                                                                                      \
    {                                                                                    \
      function<FloatProduct<Dtype::float32, Dtype::float32>>,                            \
          function<FloatProduct<Dtype::float16, Dtype::float32>>,                        \
          function<FloatProduct<Dtype::bfloat16, Dtype::float32>>,                       \
          function<FloatProduct<Dtype::int8, Dtype::float32>>,                           \
          function<FloatProduct<Dtype::bfloat16, Dtype::bfloat16>>, function<IntProduct> \
    }                                                                                    \
  }
const PanelProducts panel_dense = PRUNEPACK_PER_PRODUCT(dense_of);
const PanelProducts panel_bitmask = PRUNEPACK_PER_PRODUCT(bitmask_of);
const PanelProducts panel_nm4 = PRUNEPACK_PER_PRODUCT(nm4_of);
const PanelProducts panel_nm16 = PRUNEPACK_PER_PRODUCT(nm16_of);
const PanelProducts panel_blocks = PRUNEPACK_PER_PRODUCT(blocks_of);
const PanelProducts panel_index = PRUNEPACK_PER_PRODUCT(index_of);
#undef PRUNEPACK_PER_PRODUCT

}  // namespace prunepack::scalar
