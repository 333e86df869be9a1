// Writes panels, one function for each layout of panels.h. `out` is zeros.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>
#include <vector>

#include "panel_rows.h"

namespace prunepack {

// What writers need to know of a panel.
template <class Bits>
struct PanelSource {
  const PanelMask& mask;
  const PanelElements<Bits>& elements;
  const Prepared& matrix;
  std::size_t first_block, blocks;  // the stripe

  static constexpr std::size_t kParts = 4 / sizeof(Bits);
  static constexpr std::size_t kRegister = kPanelRows * kParts;  // elements

  std::size_t element(std::size_t lane, std::size_t part) const {
    return element_of(matrix.dtype == Dtype::float16, kParts, lane, part);
  }
  // Columns and chunks are those of the stripe.
  std::size_t columns() const { return blocks * kBlockColumns; }
  std::size_t chunks() const { return blocks / kChunkBlocks; }
  std::uint64_t kept_of_chunk(std::size_t lane, std::size_t chunk) const {
    return mask.word(lane, first_block / kChunkBlocks + chunk);
  }
  bool kept(std::size_t lane, std::size_t column) const {
    return kept_of_chunk(lane, column / 64) >> column % 64 & 1;
  }
  Bits at(std::size_t lane, std::size_t column) const {
    return elements.at(lane, first_block * kBlockColumns + column);
  }
};

// Puts numbers one after the other, wherever they come to lie.
class PanelStream {
 public:
  explicit PanelStream(std::uint8_t* out) : out_(out) {}

  template <class Number>
  void put(Number number) {
    std::memcpy(out_, &number, sizeof number);
    out_ += sizeof number;
  }
  std::uint8_t* skip(std::size_t bytes) { return std::exchange(out_, out_ + bytes); }

 private:
  std::uint8_t* out_;
};

template <class Bits>
struct PanelRegister {
  Bits elements[PanelSource<Bits>::kRegister] = {};
};

template <class Bits>
void write_dense(const PanelSource<Bits>& from, PanelStream out) {
  constexpr std::size_t parts = PanelSource<Bits>::kParts;
  for (std::size_t first = 0; first < from.columns(); first += parts) {
    PanelRegister<Bits> cells;
    for (std::size_t lane = 0; lane < kPanelRows; ++lane) {
      for (std::size_t part = 0; part < parts; ++part) {
        cells.elements[from.element(lane, part)] = from.at(lane, first + part);
      }
    }
    out.put(cells);
  }
}

template <class Bits>
void write_bitmask(const PanelSource<Bits>& from, PanelStream out) {
  constexpr std::size_t parts = PanelSource<Bits>::kParts;
  constexpr std::size_t elements = PanelSource<Bits>::kRegister;
  for (std::size_t block = 0; block < from.blocks; ++block) {
    std::uint8_t* mask = out.skip(kBlockMaskBytes);
    for (std::size_t s = 0; s < kBlockColumns / parts; ++s, mask += elements / 8) {
      const std::size_t first = block * kBlockColumns + s * parts;
      PanelRegister<Bits> cells;
      bool kept[elements];
      for (std::size_t lane = 0; lane < kPanelRows; ++lane) {
        for (std::size_t part = 0; part < parts; ++part) {
          const std::size_t e = from.element(lane, part);
          kept[e] = from.kept(lane, first + part);
          cells.elements[e] = from.at(lane, first + part);
        }
      }
      for (std::size_t e = 0; e < elements; ++e) {
        if (!kept[e]) continue;
        mask[e / 8] = static_cast<std::uint8_t>(mask[e / 8] | 1u << e % 8);
        out.put(cells.elements[e]);
      }
    }
  }
}

template <std::size_t group, class Bits>
void write_nm(const PanelSource<Bits>& from, PanelStream out) {
  constexpr std::size_t parts = PanelSource<Bits>::kParts, bits = group == 4 ? 2 : 4;
  const std::size_t most = from.matrix.kept;
  const auto put = [&](std::size_t first, std::uint8_t* positions, std::uint8_t* registers) {
    for (std::size_t lane = 0; lane < kPanelRows; ++lane) {
      for (std::size_t part = 0; part < parts; ++part) {
        const PositionPlace place = position_place(parts, bits, lane, part);
        std::uint8_t* byte = positions + place.byte;
        std::uint8_t* to = registers + from.element(lane, part) * sizeof(Bits);
        for (std::size_t position = 0; position < group; ++position) {
          const std::size_t column = first + part * group + position;
          if (!from.kept(lane, column)) continue;
          *byte = static_cast<std::uint8_t>(*byte | position << place.shift);
          const Bits element = from.at(lane, column);
          std::memcpy(to, &element, sizeof element);
          byte += position_bytes(parts, bits);
          to += kRegisterBytes;
        }
      }
    }
  };
  constexpr std::size_t columns = kChunkBlocks * kBlockColumns;
  for (std::size_t chunk = 0; chunk < from.chunks(); ++chunk) {
    std::uint8_t* positions = out.skip(chunk_position_bytes(group, most));
    for (std::size_t column = 0; column < columns; column += parts * group) {
      put(chunk * columns + column, positions, out.skip(most * kRegisterBytes));
      positions += most * position_bytes(parts, bits);
    }
  }
}

template <class Bits>
bool is_empty(const PanelSource<Bits>& from, std::size_t first_row, std::size_t tile) {
  const std::size_t breadth = from.matrix.breadth;
  for (std::size_t i = 0; i < kPanelRows; ++i) {
    if (from.kept(first_row + i / breadth, tile * breadth + i % breadth)) return false;
  }
  return true;
}

template <class Bits>
void write_blocks(const PanelSource<Bits>& from, PanelStream out) {
  constexpr std::size_t parts = PanelSource<Bits>::kParts;
  const std::size_t breadth = from.matrix.breadth, band_rows = kPanelRows / breadth;
  PanelStream counts(out.skip(kBandCountsBytes));
  for (std::size_t band = 0; band < breadth; ++band) {
    const std::size_t first_row = band * band_rows;
    std::vector<std::uint16_t> tiles;
    for (std::size_t tile = 0; tile < from.columns() / breadth; ++tile) {
      if (!is_empty(from, first_row, tile)) tiles.push_back(static_cast<std::uint16_t>(tile));
    }
    counts.put(static_cast<std::uint32_t>(round_up(tiles.size(), parts)));
    for (std::size_t slot = 0; slot < tiles.size(); slot += parts) {
      PanelRegister<Bits> cells;
      const std::size_t used = std::min(parts, tiles.size() - slot);
      PanelStream columns(out.skip(parts * sizeof tiles[0]));
      for (std::size_t part = 0; part < used; ++part) {
        const std::size_t tile = tiles[slot + part];
        columns.put(tiles[slot + part]);
        for (std::size_t i = 0; i < kPanelRows; ++i) {
          cells.elements[from.element(i, part)] =
              from.at(first_row + i / breadth, tile * breadth + i % breadth);
        }
      }
      out.put(cells);
    }
  }
}

template <class Bits>
void write_index(const PanelSource<Bits>& from, PanelStream out) {
  constexpr std::size_t columns_at_once = kIndexBlocks * kBlockColumns;
  for (std::size_t first = 0; first < from.columns(); first += columns_at_once) {
    std::uint32_t left[kPanelRows];
    std::size_t slots = 0;
    for (std::size_t lane = 0; lane < kPanelRows; ++lane) {
      left[lane] = static_cast<std::uint32_t>(from.kept_of_chunk(lane, first / 64) >> first % 64);
      slots = std::max(slots, static_cast<std::size_t>(std::popcount(left[lane])));
    }
    out.put(static_cast<std::uint8_t>(slots));
    PanelStream masks(out.skip(slots * sizeof(std::uint16_t)));
    for (; slots > 0; --slots) {
      std::uint16_t rows = 0;
      std::uint8_t columns[kPanelRows];
      Bits elements[kPanelRows];
      std::size_t count = 0;
      for (std::size_t lane = 0; lane < kPanelRows; ++lane) {
        if (left[lane] == 0) continue;
        const auto column = static_cast<std::size_t>(std::countr_zero(left[lane]));
        rows = static_cast<std::uint16_t>(rows | 1u << lane);
        columns[count] = static_cast<std::uint8_t>(column);
        elements[count++] = from.at(lane, first + column);
        left[lane] &= left[lane] - 1;
      }
      masks.put(rows);
      std::memcpy(out.skip(count), columns, count);
      std::memcpy(out.skip(count * sizeof(Bits)), elements, count * sizeof(Bits));
    }
  }
}

}  // namespace prunepack
