// What each ISA provides: one declaration of every kernel family per ISA; kernels.h has the
// contracts.
//
// A family is a constant object with one function for each dtype, so that the dispatch table is
// an initialiser of addresses, and an ISA without a family of its own borrows another's by name.
#pragma once

#include "prunepack/kernels.h"

#define PRUNEPACK_DECLARE(isa)                                                  \
  namespace prunepack::isa {                                                    \
  extern const PerDtype<NmMask> nm_mask;                                        \
  extern const PerDtype<NmColumns> nm_columns;                                  \
  extern const PerDtype<NmBands> nm_bands;                                      \
  extern const PerDtype<AboveMask> above_mask;                                  \
  extern const PerDtype<BracketMask> bracket_mask;                              \
  extern const PerDtype<KeyHistogram> key_histogram;                            \
  extern const PerDtype<TileNorms> tile_norms;                                  \
  extern const PerDtype<ColumnNorms> column_norms;                              \
  extern const PerDtype<RoughNorms> rough_norms;                                \
  extern const PerDtype<Compress> compress;                                     \
  extern const PerDtype<CompressStream> compress_stream;                        \
  extern const PerDtype<Expand> expand;                                         \
  extern const PerDtype<ExpandStream> expand_stream;                            \
  extern const PerDtype<ApplyMask> apply_mask;                                  \
  extern const PanelProducts panel_dense;                                       \
  extern const PanelProducts panel_bitmask;                                     \
  extern const PanelProducts panel_nm4;                                         \
  extern const PanelProducts panel_nm16;                                        \
  extern const PanelProducts panel_blocks;                                      \
  extern const PanelProducts panel_index;                                       \
  extern const ListKernels lists;                                               \
  extern const PerDtype<ListDots> list_dots;                                    \
  std::size_t count_bits(const std::uint8_t* mask, std::size_t bytes) noexcept; \
  }
PRUNEPACK_DECLARE(scalar)
PRUNEPACK_DECLARE(neon)
PRUNEPACK_DECLARE(avx2)
PRUNEPACK_DECLARE(avx512)
#undef PRUNEPACK_DECLARE

namespace prunepack::avx512dot {
extern const PanelProducts panel_dense;
extern const PanelProducts panel_bitmask;
extern const PanelProducts panel_nm4;
extern const PanelProducts panel_nm16;
}  // namespace prunepack::avx512dot
