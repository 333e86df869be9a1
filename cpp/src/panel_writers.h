// Writes panels, one function for each layout of panels.h. `out` is zeros.
#pragma once

#include <cstring>

#include "panel_rows.h"

namespace prunepack {

// What writers need to know of a panel.
template <class Bits>
struct PanelSource {
  const PanelMask& mask;
  const PanelElements<Bits>& elements;
  const Prepared& matrix;

  static constexpr std::size_t kParts = 4 / sizeof(Bits);
  static constexpr std::size_t kRegister = kPanelRows * kParts;  // elements

  std::size_t element(std::size_t lane, std::size_t part) const {
    return element_of(matrix.dtype == Dtype::float16, kParts, lane, part);
  }
  bool kept(std::size_t lane, std::size_t column) const {
    return mask.word(lane, column / 64) >> column % 64 & 1;
  }
};

template <class Bits>
void write_dense(const PanelSource<Bits>& from, std::uint8_t* out) {
  constexpr std::size_t parts = PanelSource<Bits>::kParts;
  auto* const values = reinterpret_cast<Bits*>(out);
  for (std::size_t column = 0; column < from.matrix.blocks * kBlockColumns; ++column) {
    Bits* const cells = values + column / parts * PanelSource<Bits>::kRegister;
    for (std::size_t lane = 0; lane < kPanelRows; ++lane) {
      cells[from.element(lane, column % parts)] = from.elements.at(lane, column);
    }
  }
}

template <class Bits>
void write_bitmask(const PanelSource<Bits>& from, std::uint8_t* out) {
  constexpr std::size_t parts = PanelSource<Bits>::kParts;
  constexpr std::size_t elements = PanelSource<Bits>::kRegister;
  auto* values = reinterpret_cast<Bits*>(out + bitmask_values_at(from.matrix.blocks));
  for (std::size_t first = 0; first < from.matrix.blocks * kBlockColumns; first += parts) {
    Bits cells[elements];
    bool kept[elements];
    for (std::size_t lane = 0; lane < kPanelRows; ++lane) {
      for (std::size_t part = 0; part < parts; ++part) {
        const std::size_t e = from.element(lane, part);
        kept[e] = from.kept(lane, first + part);
        cells[e] = from.elements.at(lane, first + part);
      }
    }
    for (std::size_t e = 0; e < elements; ++e) {
      if (!kept[e]) continue;
      out[e / 8] |= static_cast<std::uint8_t>(1u << e % 8);
      *values++ = cells[e];
    }
    out += elements / 8;
  }
}

template <std::size_t group, class Bits>
void write_nm(const PanelSource<Bits>& from, std::uint8_t* out) {
  constexpr std::size_t parts = PanelSource<Bits>::kParts, bits = group == 4 ? 2 : 4;
  const std::size_t most = from.matrix.kept;
  const std::size_t registers = nm_registers(from.matrix.blocks, group, parts, most);
  auto* const values = reinterpret_cast<Bits*>(out + nm_values_at(registers, parts, bits));
  for (std::size_t lane = 0; lane < kPanelRows; ++lane) {
    for (std::size_t i = 0; i < from.matrix.blocks * kBlockColumns / group; ++i) {
      std::size_t j = 0;
      for (std::size_t position = 0; position < group; ++position) {
        if (!from.kept(lane, i * group + position)) continue;
        const std::size_t s = i / parts * most + j++, part = i % parts;
        const PositionPlace place = position_place(parts, bits, lane, part);
        out[s * position_bytes(parts, bits) + place.byte] |=
            static_cast<std::uint8_t>(position << place.shift);
        values[s * PanelSource<Bits>::kRegister + from.element(lane, part)] =
            from.elements.at(lane, i * group + position);
      }
    }
  }
}

template <class Bits>
void write_blocks(const PanelSource<Bits>& from, std::uint8_t* out, std::size_t slots) {
  constexpr std::size_t parts = PanelSource<Bits>::kParts;
  const std::size_t breadth = from.matrix.breadth, band_rows = kPanelRows / breadth;
  auto* const counts = reinterpret_cast<std::uint32_t*>(out);
  auto* const columns = reinterpret_cast<std::uint16_t*>(out + kBlocksColumnsAt);
  auto* const values = reinterpret_cast<Bits*>(out + blocks_values_at(slots));
  std::size_t slot = 0;
  for (std::size_t band = 0; band < breadth; ++band) {
    const std::size_t first_slot = slot;
    for (std::size_t tile = 0; tile < from.matrix.blocks * kBlockColumns / breadth; ++tile) {
      bool empty = true;
      for (std::size_t i = 0; i < kPanelRows && empty; ++i) {
        empty = !from.kept(band * band_rows + i / breadth, tile * breadth + i % breadth);
      }
      if (empty) continue;
      columns[slot] = static_cast<std::uint16_t>(tile);
      for (std::size_t i = 0; i < kPanelRows; ++i) {
        values[slot / parts * PanelSource<Bits>::kRegister + from.element(i, slot % parts)] =
            from.elements.at(band * band_rows + i / breadth, tile * breadth + i % breadth);
      }
      ++slot;
    }
    slot = round_up(slot, parts);
    counts[band] = static_cast<std::uint32_t>(slot - first_slot);
  }
}

template <class Bits>
void write_index(const PanelSource<Bits>& from, std::uint8_t* out, std::size_t slots,
                 std::size_t elements) {
  const std::uint32_t header[] = {static_cast<std::uint32_t>(slots),
                                  static_cast<std::uint32_t>(elements)};
  std::memcpy(out, header, sizeof header);
  const IndexPieces at = index_pieces(from.matrix.blocks, slots, elements);
  auto* rows = reinterpret_cast<std::uint16_t*>(out + at.masks);
  std::uint8_t* columns = out + at.columns;
  auto* values = reinterpret_cast<Bits*>(out + at.values);
  for (std::size_t chunk = 0; chunk < from.mask.words(); ++chunk) {
    std::uint64_t left[kPanelRows], any = 0;
    for (std::size_t lane = 0; lane < kPanelRows; ++lane) {
      any |= left[lane] = from.mask.word(lane, chunk);
    }
    for (; any != 0; ++out[kIndexSlotsAt + chunk], ++rows) {
      any = 0;
      for (std::size_t lane = 0; lane < kPanelRows; ++lane) {
        if (left[lane] == 0) continue;
        const auto column = static_cast<std::size_t>(std::countr_zero(left[lane]));
        *rows = static_cast<std::uint16_t>(*rows | 1u << lane);
        *columns++ = static_cast<std::uint8_t>(column);
        *values++ = from.elements.at(lane, chunk * 64 + column);
        any |= left[lane] &= left[lane] - 1;
      }
    }
  }
}

}  // namespace prunepack
