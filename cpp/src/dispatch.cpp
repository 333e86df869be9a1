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

// Best first.
constexpr Kernels kTables[] = {
#ifdef PRUNEPACK_CPU_HAS_AVX512
    {.isa = Isa::avx512,
     .nm_mask = &avx512::nm_mask,
     .above_mask = &avx512::above_mask,
     .bracket_mask = &avx512::bracket_mask,
     .tile_norms = &avx2::tile_norms,
     .column_norms = &avx512::column_norms,
     .compress = &avx512::compress,
     .expand = &avx512::expand,
     .expand_stream = &avx512::expand_stream,
     .apply_mask = &avx512::apply_mask,
     .count_bits = avx512::count_bits},
#endif
#ifdef PRUNEPACK_CPU_HAS_AVX2
    {.isa = Isa::avx2,
     .nm_mask = &avx2::nm_mask,
     .above_mask = &avx2::above_mask,
     .bracket_mask = &avx2::bracket_mask,
     .tile_norms = &avx2::tile_norms,
     .column_norms = &avx2::column_norms,
     .compress = &avx2::compress,
     .expand = &avx2::expand,
     .expand_stream = &avx2::expand,
     .apply_mask = &avx2::apply_mask,
     .count_bits = avx2::count_bits},
#endif
#ifdef PRUNEPACK_CPU_HAS_NEON
    {.isa = Isa::neon,
     .nm_mask = &neon::nm_mask,
     .above_mask = &neon::above_mask,
     .bracket_mask = &neon::bracket_mask,
     .tile_norms = &neon::tile_norms,
     .column_norms = &neon::column_norms,
     .compress = &neon::compress,
     .expand = &neon::expand,
     .expand_stream = &neon::expand,
     .apply_mask = &neon::apply_mask,
     .count_bits = neon::count_bits},
#endif
    {.isa = Isa::scalar,
     .nm_mask = &scalar::nm_mask,
     .above_mask = &scalar::above_mask,
     .bracket_mask = &scalar::bracket_mask,
     .tile_norms = &scalar::tile_norms,
     .column_norms = &scalar::column_norms,
     .compress = &scalar::compress,
     .expand = &scalar::expand,
     .expand_stream = &scalar::expand,
     .apply_mask = &scalar::apply_mask,
     .count_bits = scalar::count_bits},
};

// The table called `wanted`, or the best one if it is empty.
const Kernels& choose(std::string_view wanted) {
  std::string usable;
  for (const Kernels& table : kTables) {
    if (!cpu_has(table.isa)) continue;
    if (wanted.empty() || wanted == name(table.isa)) return table;
    usable += usable.empty() ? "" : ", ";
    usable += name(table.isa);
  }
  throw std::invalid_argument("PRUNEPACK_ISA=" + std::string(wanted) +
                              " cannot run here; usable: " + usable);
}

}  // namespace

const Kernels* kernels_for(Isa isa) noexcept {
  for (const Kernels& table : kTables) {
    if (table.isa == isa && cpu_has(isa)) return &table;
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
