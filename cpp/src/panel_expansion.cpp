#include "panel_expansion.h"

#include <bit>
#include <cstring>

#include "fetch_ahead.h"

namespace prunepack {
namespace {

constexpr std::size_t kBlockElements = kBlockColumns * kPanelRows;

void expand_bitmask(const Kernels& kernels, const Prepared& matrix, std::size_t blocks,
                    const std::uint8_t* panel, std::uint8_t* dense) {
  const std::size_t bytes = width(matrix.dtype);
  const Expand expand = (*kernels.expand)[matrix.dtype];
  const std::size_t taken = kBlockMaskBytes + kBlockElements * bytes / 2;  // if half is kept
  for (std::size_t block = 0; block < blocks; ++block) {
    constexpr std::size_t kAhead = 2048;
    fetch<Cache::l1>(moved(panel, kAhead), taken);
    const std::uint8_t* const mask = panel;
    const std::size_t kept = kernels.count_bits(mask, kBlockMaskBytes);
    expand(mask, mask + kBlockMaskBytes, kept, kBlockElements, dense);
    panel += kBlockMaskBytes + kept * bytes;
    dense += kBlockElements * bytes;
  }
}

// Where in a dense panel each element of a chunk lies, first by its column, then by its lane.
template <class Bits>
class ChunkPlaces {
 public:
  explicit ChunkPlaces(bool float16) {
    for (std::size_t part = 0; part < kParts; ++part) {
      for (std::size_t lane = 0; lane < kPanelRows; ++lane) {
        in_register_[part][lane] =
            static_cast<std::uint16_t>(element_of(float16, kParts, lane, part));
      }
    }
  }

  std::size_t of(std::size_t column, std::size_t lane) const {
    return column / kParts * (kPanelRows * kParts) + in_register_[column % kParts][lane];
  }

 private:
  static constexpr std::size_t kParts = 4 / sizeof(Bits);
  std::uint16_t in_register_[kParts][kPanelRows];
};

template <class Bits>
void expand_index(const Prepared& matrix, std::size_t blocks, const std::uint8_t* panel,
                  std::uint8_t* dense) {
  const ChunkPlaces<Bits> places(matrix.dtype == Dtype::float16);
  auto* out = reinterpret_cast<Bits*>(dense);
  std::memset(out, 0, dense_bytes(matrix, blocks));
  for (std::size_t block = 0; block < blocks; block += kIndexBlocks) {
    const std::size_t slots = *panel++;
    const std::uint8_t* const masks = panel;
    panel += slots * sizeof(std::uint16_t);
    for (std::size_t slot = 0; slot < slots; ++slot) {
      std::uint16_t rows;
      std::memcpy(&rows, masks + slot * sizeof rows, sizeof rows);
      const std::uint8_t* columns = panel;
      const std::uint8_t* elements = columns + std::popcount(rows);
      for (; rows != 0; rows = static_cast<std::uint16_t>(rows & (rows - 1))) {
        const auto lane = static_cast<std::size_t>(std::countr_zero(rows));
        std::memcpy(out + places.of(*columns++, lane), elements, sizeof(Bits));
        elements += sizeof(Bits);
      }
      panel = elements;
    }
    out += kIndexBlocks * kBlockElements;
  }
}

}  // namespace

std::size_t dense_bytes(const Prepared& matrix, std::size_t blocks) {
  return blocks * kBlockElements * width(matrix.dtype);
}

void expand_panel(const Kernels& kernels, const Prepared& matrix, std::size_t blocks,
                  const std::uint8_t* panel, std::uint8_t* dense) {
  if (matrix.layout == Layout::bitmask) {
    return expand_bitmask(kernels, matrix, blocks, panel, dense);
  }
  switch (width(matrix.dtype)) {
    case 4:
      return expand_index<std::uint32_t>(matrix, blocks, panel, dense);
    case 2:
      return expand_index<std::uint16_t>(matrix, blocks, panel, dense);
    default:
      return expand_index<std::uint8_t>(matrix, blocks, panel, dense);
  }
}

}  // namespace prunepack
