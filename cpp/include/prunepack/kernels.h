// The kernel table: every SIMD entry point of the library, and the contract of each, once.
//
// A kernel takes plain pointers and counts, runs on the calling thread, allocates nothing, throws
// nothing and trusts its caller. It gives the same bytes on every ISA.
//
// Weights are a flat run of elements of one dtype, at any element-aligned address. They are ranked
// by their key, the magnitude as an unsigned integer of the same width: the bits without the sign
// for the floating types (which orders them as |x| does, with NaN above infinity), |x| for int8
// (-128 has key 128), x for uint8. A key that a kernel is given fits that integer.
//
// A mask is a flat run of bits: bit i % 8 of byte i / 8 belongs to element i, and 1 means kept.
// Kernels that write one write (count + 7) / 8 bytes, the unused high bits of the last one 0.
// Kernels that read one read as many, and ignore those bits.
//
// Nothing overlaps except where a contract says so, and nothing is written beyond what it names.
#pragma once

#include <cstddef>
#include <cstdint>

#include "prunepack/dtype.h"
#include "prunepack/isa.h"
#include "prunepack/lists.h"
#include "prunepack/panels.h"

namespace prunepack {

enum class Norm : std::uint8_t { l1, l2, max };

// How many elements have a key above a range, and how many one inside.
struct Above {
  std::size_t above;
  std::size_t tied;
};

// Of every m consecutive weights, the n with the smallest keys are pruned, and of equal keys the
// one that comes first. 0 <= n <= m, m >= 1; the weights are groups * m elements.
using NmMask = void (*)(const void* weights, std::size_t groups, std::size_t n, std::size_t m,
                        std::uint8_t* mask) noexcept;

// The same for `columns` groups that stand side by side, each one element wide and m high: element
// e of group c is weights[e * stride + c], and its bit is bit c of the row of the mask that begins
// at mask + e * mask_stride and has (columns + 7) / 8 bytes. 1 <= m <= kMostUpright.
using NmColumns = void (*)(const void* weights, std::size_t stride, std::size_t columns,
                           std::size_t n, std::size_t m, std::uint8_t* mask,
                           std::size_t mask_stride) noexcept;
inline constexpr std::size_t kMostUpright = 64;

// The same for short rows that follow each other: `bands` times m rows of `columns` weights, column
// c of a band being a group. The mask is as flat as the weights. 1 <= m <= kTallestBand and
// 1 <= columns <= kWidestBand.
using NmBands = void (*)(const void* weights, std::size_t bands, std::size_t columns, std::size_t n,
                         std::size_t m, std::uint8_t* mask) noexcept;
inline constexpr std::size_t kTallestBand = 4, kWidestBand = 64;

// Keeps the weights whose key is above `key`; returns how many that is. With key 0 this is the
// mask of the non-zeros.
using AboveMask = std::size_t (*)(const void* weights, std::size_t count, std::uint64_t key,
                                  std::uint8_t* mask) noexcept;

// Keeps the weights whose key is above `high`, and appends those with low <= key <= high to two
// lists, in order: their keys (unsigned integers of the weights' width) and their positions. Both
// lists have room for `count` elements and 64 bytes more, all of which may be overwritten.
// `count` is at most 65,536.
using BracketMask = Above (*)(const void* weights, std::size_t count, std::uint64_t low,
                              std::uint64_t high, std::uint8_t* mask, void* keys,
                              std::uint16_t* positions) noexcept;

// Counts how many weights have which key. There are kHistogramTables tables of bins + 2 counts, one
// after the other, and weight i is counted in table i % kHistogramTables, so that neighbours which
// are equal do not wait for each other. The first count of a table is of keys below `low`, the last
// of keys beyond the bins, and count 1 + b of keys with (key - low) >> shift == b. Adds to what is
// there. `count` is at most 2^32 - 1, `bins` at most kMostBins, `shift` less than the key has bits.
using KeyHistogram = void (*)(const void* weights, std::size_t count, std::uint64_t low,
                              unsigned shift, std::size_t bins, std::uint32_t* counts) noexcept;
inline constexpr std::size_t kHistogramTables = 4, kMostBins = 65'536;

// The norm of each of `tiles` consecutive tiles of `size` elements, in float64.
//
// Element e of a tile goes to lane e mod 8, and each lane takes its elements in order, starting
// from zero: l1 adds |x|, l2 adds x * x (and takes no root), max takes the larger |x|. The lanes
// are then folded in halves: lane j takes in lane j + 4, then j + 2, then j + 1. The product and
// every sum are rounded to float64 on their own. A tile that holds a NaN has the norm NaN, always
// with the same bits, 0x7ff8000000000000.
using TileNorms = void (*)(const void* weights, std::size_t tiles, std::size_t size, Norm norm,
                           double* norms) noexcept;

// The norms of `columns` tiles that stand side by side, each one element wide and `size` high:
// element e of tile c is weights[e * stride + c]. Summed as above.
using ColumnNorms = void (*)(const void* weights, std::size_t stride, std::size_t size,
                             std::size_t columns, Norm norm, double* norms) noexcept;

// The same norms, roughly: in float32, the elements rounded to float32 first and added from the
// first to the last, from zero, every product and sum rounded on its own. A tile that holds a NaN
// has the norm 0x7fc00000. rough_norms.h says how near these are to the norms.
//
// `ahead`, if it is not nullptr, is where what comes next begins: from there on as many bytes as
// the tiles have may be fetched meanwhile. They need not be there.
using RoughNorms = void (*)(const void* weights, std::size_t stride, std::size_t size,
                            std::size_t columns, Norm norm, const void* ahead,
                            float* norms) noexcept;

// Copies the elements whose bit is 1 to `values`, which has room for `room` elements, no fewer than
// those. What is after them may be overwritten.
using Compress = void (*)(const void* weights, const std::uint8_t* mask, std::size_t count,
                          std::size_t room, void* values) noexcept;

// The same, written past the caches.
using CompressStream = Compress;

// The inverse: `count` elements, the next of the values where the bit is 1, else all bits 0. No
// more than `kept` values are read; if the mask has more bits, what is written for those is
// anything.
using Expand = void (*)(const std::uint8_t* mask, const void* values, std::size_t kept,
                        std::size_t count, void* weights) noexcept;

// The same, written past the caches. `weights` is a multiple of kStreamAlignment.
using ExpandStream = Expand;
inline constexpr std::size_t kStreamAlignment = 64;

// Copies the elements whose bit is 1 to their place in `out`, all bits 0 where it is 0.
// `out` may be `weights` itself.
using ApplyMask = void (*)(const void* weights, const std::uint8_t* mask, std::size_t count,
                           void* out) noexcept;

// The number of bits set in `bytes` bytes.
using CountBits = std::size_t (*)(const std::uint8_t* mask, std::size_t bytes) noexcept;

struct Kernels {
  Isa isa;
  const PerDtype<NmMask>* nm_mask;
  // The largest groups of float32 for which nm_mask is better than two passes (nm_groups.cpp).
  std::size_t most_for_nm_mask;
  const PerDtype<NmColumns>* nm_columns;
  const PerDtype<NmBands>* nm_bands;
  const PerDtype<AboveMask>* above_mask;
  const PerDtype<BracketMask>* bracket_mask;
  const PerDtype<KeyHistogram>* key_histogram;
  const PerDtype<TileNorms>* tile_norms;
  const PerDtype<ColumnNorms>* column_norms;
  const PerDtype<RoughNorms>* rough_norms;
  const PerDtype<Compress>* compress;
  const PerDtype<CompressStream>* compress_stream;
  const PerDtype<Expand>* expand;
  const PerDtype<ExpandStream>* expand_stream;
  const PerDtype<ApplyMask>* apply_mask;
  CountBits count_bits;
  const PanelProducts* panels[kPanelLayouts];  // in the order of Layout
  const PanelProducts* dots[kPanelLayouts];    // the same for what panels does not have; or nullptr
  const ListKernels* lists;
  const PerDtype<ListDots>* list_dots;  // nullptr for what no layer computes with
};

// The kernel for `product`, or nullptr if this table has nothing better than float32 activations.
PanelProduct panel_product(const Kernels& kernels, Layout layout, Product product) noexcept;

// The table for `isa`, or nullptr if it was not built or this CPU cannot run it.
const Kernels* kernels_for(Isa isa) noexcept;

// The table in use: that of PRUNEPACK_ISA if it is set, else the best one this CPU can run.
// Throws std::invalid_argument if PRUNEPACK_ISA names one that cannot run here.
const Kernels& kernels();

}  // namespace prunepack
