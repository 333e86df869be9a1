// Panels: the forms of a weight matrix that linear layers compute from, and the contract of the
// kernels that do.
//
// A panel is 16 consecutive rows (output channels) of a matrix, one for each of 16 lanes; rows
// beyond the last are zeros. Its columns are cut into blocks of 16. The number of blocks is a
// multiple of 4, and columns beyond the last are zeros.
//
// A register is 64 bytes: a cell of 4 bytes for each lane, which holds 4 / width elements, its
// parts. Part p of lane r is element r * parts + p of the register, but for float16 element
// p * 16 + r: this dtype is widened by halves of a register.
//
// dense    For every block, 16 / parts registers. Part p of register s is column s * parts + p.
// bitmask  The same registers without their zeros: for every block the masks of its registers, 32
//          bytes, and then the elements kept. Bit e of a register's mask is its element e.
// nm4      At most `kept` of every 4 columns of a row. For every 4 blocks, a chunk, the positions
//          of 16 / parts times `kept` registers, and then these: part p of register (s, j) is the
//          j-th kept element of the four columns from 4 * (s * parts + p), and stands at its
//          position in the four.
// nm16     At most `kept` of every 16 columns of a row. For every chunk the positions of 4 / parts
//          times `kept` registers, and then these: part p of register (s, j) is the j-th kept
//          element of block s * parts + p.
// blocks   Tiles of 16 / breadth rows and `breadth` columns, without those that are empty. A panel
//          has `breadth` bands of tiles, and a band has slots, a multiple of `parts`, for its
//          tiles. First 16 uint32: the slots of each band. Then, band after band, for every `parts`
//          slots the first columns of their tiles over breadth (uint16), and a register: part p of
//          lane i is element (i / breadth, i % breadth) of the tile in slot p.
// index    For every 2 blocks as many slots as the fullest row has elements kept. Slot t holds the
//          t-th kept element of each row that has one. For every 2 blocks the number of their slots
//          (uint8), the mask of the rows of each slot (uint16), and then for each slot the columns
//          of its elements in the 2 blocks (uint8), and the elements.
//
// Where a row has fewer elements than slots (nm4, nm16), or a band fewer tiles than slots, they are
// filled up with zeros, at position or column 0. A panel is one stream, read from its beginning to
// its end, because processors fetch ahead best in one. Only its beginning is aligned, to 64 bytes;
// 64 bytes after the last panel may be read. (The positions of a chunk stand together because its
// registers then are lines of a cache, or halves of two. Masks stand before what they are masks of,
// so that a kernel can count many at once to know where the elements of each begin.)
//
// Positions take 2 bits in nm4 and 4 in nm16. They are so placed that those of a register,
// broadcast to 64 bytes, and each cell shifted to the right by a number of its own, leave that of
// part p in the low bits of the p-th of the `parts` equal pieces of its cell: position_place().
#pragma once

#include <cstddef>
#include <cstdint>

namespace prunepack {

inline constexpr std::size_t kPanelRows = 16, kBlockColumns = 16, kChunkBlocks = 4;
inline constexpr std::size_t kIndexBlocks = 2;
inline constexpr std::size_t kPanelAlignment = 64;

enum class Layout : std::uint8_t { dense, bitmask, nm4, nm16, blocks, index, csr };

inline constexpr std::size_t kLayouts = 7;
inline constexpr std::size_t kPanelLayouts = 6;  // those before csr, which is lists (lists.h)

// What is multiplied with what: weights, activations.
enum class Product : std::uint8_t {
  float32_float32,
  float16_float32,
  bfloat16_float32,
  int8_float32,
  bfloat16_bfloat16,
  int8_int8
};

inline constexpr std::size_t kProducts = 6;

// The numbers of rows of activations that kernels are made for.
inline constexpr std::size_t kBatches[] = {1, 2, 4, 8, 16};
inline constexpr std::size_t kMostBatch = 16;

struct PanelShape {
  std::size_t blocks;   // of columns
  std::size_t kept;     // nm4, nm16
  std::size_t breadth;  // blocks: 1, 2, 4, 8 or 16
  std::size_t batch;    // one of kBatches
};

// sums[b * 16 + r] = row r of the panel times row b of the activations, for each b of the batch.
//
// The activations are in blocks of 16 columns, each with the rows of the batch one after the
// other: column c of row b is x[(c / 16 * batch + b) * 16 + c % 16], zero beyond the last column.
// They begin at a multiple of 64 bytes. int8 activations come as x + 128 in uint8, and the sums
// are those of x + 128.
//
// Sums are float32, or int32 for int8_int8. The order in which a float32 sum is added up depends
// on the ISA, the layout and the batch alone. bfloat16_bfloat16 may add two products at once and
// take subnormal numbers for zeros; int8_float32 may overflow from 2^100 on. Where activations are
// not finite, pruned weights may turn sums into NaN, as zeros do in a dense product, or may not.
using PanelProduct = void (*)(const PanelShape& shape, const std::uint8_t* panel, const void* x,
                              void* sums) noexcept;

// One entry for each product; nullptr where an ISA has nothing better than float32 activations.
struct PanelProducts {
  PanelProduct entries[kProducts];
  constexpr PanelProduct operator[](Product product) const {
    return entries[static_cast<std::size_t>(product)];
  }
};

constexpr std::size_t round_up(std::size_t count, std::size_t step) {
  return (count + step - 1) / step * step;
}

// The element of a register that is part `part` of lane `lane`.
constexpr std::size_t element_of(bool float16, std::size_t parts, std::size_t lane,
                                 std::size_t part) {
  return float16 ? part * kPanelRows + lane : lane * parts + part;
}

// The bytes that the positions of a register take, with `bits` each.
constexpr std::size_t position_bytes(std::size_t parts, std::size_t bits) {
  return kPanelRows * parts * bits / 8;
}

struct PositionPlace {
  std::size_t byte;
  unsigned shift;
};

// Where in them the position of part `part` of lane `lane` is.
constexpr PositionPlace position_place(std::size_t parts, std::size_t bits, std::size_t lane,
                                       std::size_t part) {
  const std::size_t piece_bytes = 4 / parts;
  const std::size_t pieces = position_bytes(parts, bits) / piece_bytes;
  const std::size_t place = lane * parts + part;
  const std::size_t bit = bits * (place / pieces);
  return {place % pieces * piece_bytes + bit / 8, static_cast<unsigned>(bit % 8)};
}

// How many registers so many blocks of an n:m panel have, for groups of 4 or of 16 columns.
constexpr std::size_t nm_registers(std::size_t blocks, std::size_t group, std::size_t parts,
                                   std::size_t kept) {
  return blocks * (kBlockColumns / group) / parts * kept;
}

// The bytes that the positions of a chunk of it take.
constexpr std::size_t chunk_position_bytes(std::size_t group, std::size_t kept) {
  const std::size_t bits = group == 4 ? 2 : 4;
  return nm_registers(kChunkBlocks, group, 1, kept) * position_bytes(1, bits);
}

inline constexpr std::size_t kRegisterBytes = 64;
inline constexpr std::size_t kBlockMaskBytes = 32;
inline constexpr std::size_t kBandCountsBytes = 64;

}  // namespace prunepack
