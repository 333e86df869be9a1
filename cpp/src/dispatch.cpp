// One row per ISA. A row with no kernel of its own names the one it borrows, so what runs on a
// machine is read here and nowhere else.
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

#include "kernels/tables.h"
#include "prunepack/kernels.h"

namespace prunepack {
namespace {

#ifdef PRUNEPACK_CPU_HAS_AVX512
constexpr Kernels kAvx512 = {
    .isa = Isa::avx512,
    .nm_mask = &avx512::nm_mask,
    .most_for_nm_mask = 8192,
    .nm_columns = &avx512::nm_columns,
    .nm_bands = &avx2::nm_bands,
    .above_mask = &avx512::above_mask,
    .bracket_mask = &avx512::bracket_mask,
    .key_histogram = &avx512::key_histogram,
    .tile_norms = &avx2::tile_norms,
    .column_norms = &avx512::column_norms,
    .rough_norms = &avx512::rough_norms,
    .compress = &avx512::compress,
    .compress_stream = &avx512::compress_stream,
    .expand = &avx512::expand,
    .expand_stream = &avx512::expand_stream,
    .apply_mask = &avx512::apply_mask,
    .count_bits = avx512::count_bits,
    .panels = {&avx512::panel_dense, &avx512::panel_bitmask, &avx512::panel_nm4,
               &avx512::panel_nm16, &avx512::panel_blocks, &avx512::panel_index},
    .dots = {},
    .lists = &avx512::lists,
    .list_dots = &avx2::list_dots};
#endif

#ifdef PRUNEPACK_CPU_HAS_AVX512DOT
constexpr Kernels kAvx512WithDots = [] {
  Kernels kernels = kAvx512;
  kernels.dots[static_cast<std::size_t>(Layout::dense)] = &avx512dot::panel_dense;
  kernels.dots[static_cast<std::size_t>(Layout::bitmask)] = &avx512dot::panel_bitmask;
  kernels.dots[static_cast<std::size_t>(Layout::nm4)] = &avx512dot::panel_nm4;
  kernels.dots[static_cast<std::size_t>(Layout::nm16)] = &avx512dot::panel_nm16;
  return kernels;
}();
#endif

// Best first.
constexpr Kernels kTables[] = {
#ifdef PRUNEPACK_CPU_HAS_AVX512DOT
    kAvx512WithDots,
#endif
#ifdef PRUNEPACK_CPU_HAS_AVX512
    kAvx512,
#endif
#ifdef PRUNEPACK_CPU_HAS_AVX2
    {.isa = Isa::avx2,
     .nm_mask = &avx2::nm_mask,
     .most_for_nm_mask = 8160,
     .nm_columns = &avx2::nm_columns,
     .nm_bands = &avx2::nm_bands,
     .above_mask = &avx2::above_mask,
     .bracket_mask = &avx2::bracket_mask,
     .key_histogram = &avx2::key_histogram,
     .tile_norms = &avx2::tile_norms,
     .column_norms = &avx2::column_norms,
     .rough_norms = &avx2::rough_norms,
     .compress = &avx2::compress,
     .compress_stream = &avx2::compress_stream,
     .expand = &avx2::expand,
     .expand_stream = &avx2::expand_stream,
     .apply_mask = &avx2::apply_mask,
     .count_bits = avx2::count_bits,
     .panels = {&avx2::panel_dense, &avx2::panel_bitmask, &avx2::panel_nm4, &avx2::panel_nm16,
                &avx2::panel_blocks, &scalar::panel_index},
     .dots = {},
     .lists = &avx2::lists,
     .list_dots = &avx2::list_dots},
#endif
#ifdef PRUNEPACK_CPU_HAS_NEON
    {.isa = Isa::neon,
     .nm_mask = &neon::nm_mask,
     .most_for_nm_mask = 256,
     .nm_columns = &scalar::nm_columns,
     .nm_bands = &scalar::nm_bands,
     .above_mask = &neon::above_mask,
     .bracket_mask = &neon::bracket_mask,
     .key_histogram = &scalar::key_histogram,
     .tile_norms = &neon::tile_norms,
     .column_norms = &neon::column_norms,
     .rough_norms = &neon::rough_norms,
     .compress = &neon::compress,
     .compress_stream = &neon::compress,
     .expand = &neon::expand,
     .expand_stream = &neon::expand,
     .apply_mask = &neon::apply_mask,
     .count_bits = neon::count_bits,
     .panels = {&neon::panel_dense, &neon::panel_bitmask, &neon::panel_nm4, &neon::panel_nm16,
                &neon::panel_blocks, &scalar::panel_index},
     .dots = {},
     .lists = &neon::lists,
     .list_dots = &neon::list_dots},
#endif
    {.isa = Isa::scalar,
     .nm_mask = &scalar::nm_mask,
     .most_for_nm_mask = 256,
     .nm_columns = &scalar::nm_columns,
     .nm_bands = &scalar::nm_bands,
     .above_mask = &scalar::above_mask,
     .bracket_mask = &scalar::bracket_mask,
     .key_histogram = &scalar::key_histogram,
     .tile_norms = &scalar::tile_norms,
     .column_norms = &scalar::column_norms,
     .rough_norms = &scalar::rough_norms,
     .compress = &scalar::compress,
     .compress_stream = &scalar::compress,
     .expand = &scalar::expand,
     .expand_stream = &scalar::expand,
     .apply_mask = &scalar::apply_mask,
     .count_bits = scalar::count_bits,
     .panels = {&scalar::panel_dense, &scalar::panel_bitmask, &scalar::panel_nm4,
                &scalar::panel_nm16, &scalar::panel_blocks, &scalar::panel_index},
     .dots = {},
     .lists = &scalar::lists,
     .list_dots = &scalar::list_dots},
};

bool can_run(const Kernels& table) noexcept {
  const bool has_dots = table.dots[0] != nullptr;
  return cpu_has(table.isa) && (!has_dots || cpu_has_avx512_dots());
}

// The table called `wanted`, or the best one if it is empty.
const Kernels& choose(std::string_view wanted) {
  std::string usable;
  for (const Kernels& table : kTables) {
    if (!can_run(table)) continue;
    if (wanted.empty() || wanted == name(table.isa)) return table;
    if (usable.ends_with(name(table.isa))) continue;  // another row of the same ISA
    usable += usable.empty() ? "" : ", ";
    usable += name(table.isa);
  }
  throw std::invalid_argument("PRUNEPACK_ISA=" + std::string(wanted) +
                              " cannot run here; usable: " + usable);
}

}  // namespace

PanelProduct panel_product(const Kernels& kernels, Layout layout, Product product) noexcept {
  const auto i = static_cast<std::size_t>(layout);
  if (const PanelProduct kernel = (*kernels.panels[i])[product]) return kernel;
  return kernels.dots[i] != nullptr ? (*kernels.dots[i])[product] : nullptr;
}

const Kernels* kernels_for(Isa isa) noexcept {
  for (const Kernels& table : kTables) {
    if (table.isa == isa && can_run(table)) return &table;
  }
  return nullptr;
}

const Kernels& kernels() {
  static const Kernels& chosen = []() -> const Kernels& {
    const char* wanted = std::getenv("PRUNEPACK_ISA");
    return choose(wanted != nullptr ? wanted : "");
  }();
  return chosen;
}

}  // namespace prunepack
