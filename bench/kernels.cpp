// Benchmarks of single kernels, one call on the whole tensor, registered from the kernel table.
#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>

#include "contest.h"

namespace prunepack::bench {
namespace {

// A family of kernels: the function in its place in a table, to tell rows that borrow another's.
using Address = std::function<const void*(const Kernels& kernels, Dtype dtype)>;

template <class Kernel>
Address address_of(const PerDtype<Kernel>* Kernels::* family) {
  return [family](const Kernels& kernels, Dtype dtype) {
    return reinterpret_cast<const void*>((*(kernels.*family))[dtype]);
  };
}

// One name of each: dtypes that share a kernel are benchmarked as the first of them.
constexpr Dtype kDtypesByUse[] = {Dtype::float32,     Dtype::bfloat16, Dtype::float16,
                                  Dtype::int8,        Dtype::uint8,    Dtype::float8_e4m3fn,
                                  Dtype::float8_e5m2, Dtype::float64};
static_assert(std::size(kDtypesByUse) == kDtypes);

bool has_kernel_of_its_own(const Address& address, Dtype dtype) {
  const Kernels& scalar = *kernels_for(Isa::scalar);
  for (const Dtype earlier : kDtypesByUse) {
    if (earlier == dtype) return true;
    if (address(scalar, earlier) == address(scalar, dtype)) return false;
  }
  return true;
}

// The tables that do not borrow this kernel from a worse one.
std::vector<const Kernels*> owners(const Address& address, Dtype dtype) {
  std::vector<const Kernels*> tables;
  for (const Kernels* table : usable_tables()) {
    const bool borrowed = std::ranges::any_of(tables, [&](const Kernels* worse) {
      return address(*worse, dtype) == address(*table, dtype);
    });
    if (!borrowed) tables.push_back(table);
  }
  return tables;
}

using Make = std::function<Problem(Dtype dtype, std::size_t count)>;

void add_family(const std::string& operation, const Address& address, Reference reference,
                const Make& make) {
  for (const Dtype dtype : kDtypesByUse) {
    if (!has_kernel_of_its_own(address, dtype)) continue;
    for (const std::size_t bytes : sizes()) {
      add_kernel({text(operation, "_", name(dtype)), bytes, reference,
                  [=] { return make(dtype, bytes / width(dtype)); }},
                 owners(address, dtype));
    }
  }
}

SharedBuffer room(std::size_t bytes) { return std::make_shared<Buffer>(bytes); }
SharedBuffer mask_room(std::size_t count) { return room((count + 7) / 8); }

// Where a kernel's return value is kept, to be compared like its other outputs.
template <class Number>
void keep(const SharedBuffer& place, Number number) {
  std::memcpy(place->data(), &number, sizeof number);
}

Problem nm_problem(Dtype dtype, std::size_t count, std::size_t n, std::size_t m) {
  const SharedBuffer weights = make_weights(dtype, count), mask = mask_room(count);
  return {[=](const Kernels& kernels, unsigned) {
            (*kernels.nm_mask)[dtype](weights->data(), count / m, n, m, mask->data());
          },
          weights,
          {mask}};
}

// Called as nm_mask calls it: band by band, in rows of 4096.
Problem nm_columns_problem(Dtype dtype, std::size_t count, std::size_t m) {
  constexpr std::size_t kColumns = 4096;
  const SharedBuffer weights = make_weights(dtype, count), mask = mask_room(count);
  return {[=](const Kernels& kernels, unsigned) {
            const NmColumns kernel = (*kernels.nm_columns)[dtype];
            for (std::size_t first = 0; first < count; first += m * kColumns) {
              kernel(weights->data() + first * width(dtype), kColumns, kColumns, m / 2, m,
                     mask->data() + first / 8, kColumns / 8);
            }
          },
          weights,
          {mask}};
}

// 3 x 3 convolutions.
Problem nm_bands_problem(Dtype dtype, std::size_t count) {
  constexpr std::size_t kColumns = 9, kBand = 4 * kColumns;
  const SharedBuffer weights = make_weights(dtype, count), mask = mask_room(count);
  return {[=](const Kernels& kernels, unsigned) {
            (*kernels.nm_bands)[dtype](weights->data(), count / kBand, kColumns, 2, 4,
                                       mask->data());
          },
          weights,
          {mask}};
}

Problem above_problem(Dtype dtype, std::size_t count) {
  const SharedBuffer weights = make_weights(dtype, count), mask = mask_room(count),
                     kept = room(sizeof(std::size_t));
  const std::uint64_t key = key_at(dtype, *weights, 0.5);
  return {[=](const Kernels& kernels, unsigned) {
            keep(kept, (*kernels.above_mask)[dtype](weights->data(), count, key, mask->data()));
          },
          weights,
          {mask, kept}};
}

// The finest bins that cover all keys; the counts begin at zero every time.
Problem histogram_problem(Dtype dtype, std::size_t count) {
  const std::size_t key_bits = 8 * width(dtype),
                    bins = std::size_t{1} << std::min<std::size_t>(key_bits, 15);
  const auto shift = static_cast<unsigned>(key_bits > 16 ? key_bits - 16 : 0);
  const SharedBuffer weights = make_weights(dtype, count),
                     counts = room(kHistogramTables * (bins + 2) * sizeof(std::uint32_t));
  return {[=](const Kernels& kernels, unsigned) {
            std::memset(counts->data(), 0, counts->bytes());
            (*kernels.key_histogram)[dtype](weights->data(), count, 0, shift, bins,
                                            reinterpret_cast<std::uint32_t*>(counts->data()));
          },
          weights,
          {counts}};
}

// Called as smallest_mask calls it: step by step, on a range that holds a few percent of the
// weights. The lists keep those of the last step.
Problem bracket_problem(Dtype dtype, std::size_t count) {
  constexpr std::size_t kStep = 64 * 1024, kSlackBytes = 64;
  const SharedBuffer weights = make_weights(dtype, count), mask = mask_room(count),
                     keys = room(kStep * width(dtype) + kSlackBytes),
                     positions = room(kStep * sizeof(std::uint16_t) + kSlackBytes),
                     counts = room(sizeof(Above));
  const std::uint64_t low = key_at(dtype, *weights, 0.49), high = key_at(dtype, *weights, 0.51);
  const auto listed = std::make_shared<std::size_t>();
  return {.run =
              [=](const Kernels& kernels, unsigned) {
                Above all{0, 0};
                for (std::size_t i = 0; i < count; i += kStep) {
                  const Above found = (*kernels.bracket_mask)[dtype](
                      weights->data() + i * width(dtype), std::min(kStep, count - i), low, high,
                      mask->data() + i / 8, keys->data(),
                      reinterpret_cast<std::uint16_t*>(positions->data()));
                  all.above += found.above;
                  all.tied += found.tied;
                  *listed = found.tied;
                }
                keep(counts, all);
              },
          .dense = weights,
          .outputs = {mask, keys, positions, counts},
          .results =
              [=] {
                using Bytes = std::span<const std::uint8_t>;
                return std::vector<Bytes>{
                    {mask->data(), mask->bytes()},
                    {counts->data(), counts->bytes()},
                    {keys->data(), *listed * width(dtype)},
                    {positions->data(), *listed * sizeof(std::uint16_t)},
                };
              }};
}

Problem tile_norms_problem(Dtype dtype, std::size_t count, std::size_t size) {
  const SharedBuffer weights = make_weights(dtype, count),
                     norms = room(count / size * sizeof(double));
  return {[=](const Kernels& kernels, unsigned) {
            (*kernels.tile_norms)[dtype](weights->data(), count / size, size, Norm::l2,
                                         reinterpret_cast<double*>(norms->data()));
          },
          weights,
          {norms}};
}

// Tiles of `size` rows and one column, in a matrix of 1024 columns: column_norms or rough_norms.
template <class Number, class Family, class... More>
Problem norms_of_columns_problem(Dtype dtype, std::size_t count, std::size_t size,
                                 const PerDtype<Family>* Kernels::* family, More... more) {
  constexpr std::size_t kColumns = 1024;
  const SharedBuffer weights = make_weights(dtype, count),
                     norms = room(count / size * sizeof(Number));
  return {[=](const Kernels& kernels, unsigned) {
            auto* out = reinterpret_cast<Number*>(norms->data());
            for (std::size_t i = 0; i < count; i += size * kColumns, out += kColumns) {
              (*(kernels.*family))[dtype](weights->data() + i* width(dtype), kColumns, size,
                                          kColumns, Norm::l2, more..., out);
            }
          },
          weights,
          {norms}};
}

std::size_t kept_by(const Buffer& mask) {
  return kernels_for(Isa::scalar)->count_bits(mask.data(), mask.bytes());
}

Problem compress_problem(Dtype dtype, std::size_t count, double zeros) {
  const SharedBuffer weights = make_weights(dtype, count), mask = make_mask(count, zeros);
  const std::size_t kept = kept_by(*mask);
  const SharedBuffer values = room(kept * width(dtype));
  return {[=](const Kernels& kernels, unsigned) {
            (*kernels.compress)[dtype](weights->data(), mask->data(), count, kept, values->data());
          },
          weights,
          {values}};
}

Problem expand_problem(Dtype dtype, std::size_t count, double zeros) {
  const SharedBuffer mask = make_mask(count, zeros), dense = room(count * width(dtype));
  const std::size_t kept = kept_by(*mask);
  const SharedBuffer values = make_weights(dtype, kept);
  return {[=](const Kernels& kernels, unsigned) {
            (*kernels.expand)[dtype](mask->data(), values->data(), kept, count, dense->data());
          },
          dense,
          {dense}};
}

Problem apply_problem(Dtype dtype, std::size_t count) {
  const SharedBuffer weights = make_weights(dtype, count), mask = make_mask(count, 0.5),
                     out = room(count * width(dtype));
  return {[=](const Kernels& kernels, unsigned) {
            (*kernels.apply_mask)[dtype](weights->data(), mask->data(), count, out->data());
          },
          weights,
          {out}};
}

void add_count_bits() {
  const Address address = [](const Kernels& kernels, Dtype) {
    return reinterpret_cast<const void*>(kernels.count_bits);
  };
  for (const std::size_t bytes : sizes()) {
    const auto make = [bytes]() -> Problem {
      const SharedBuffer mask = make_mask(8 * bytes, 0.5), set = room(sizeof(std::size_t));
      return {[=](const Kernels& kernels, unsigned) {
                keep(set, kernels.count_bits(mask->data(), mask->bytes()));
              },
              mask,
              {set}};
    };
    add_kernel({"count_bits_mask", bytes, Reference::read, make}, owners(address, Dtype::uint8));
  }
}

}  // namespace

void add_kernels() {
  using Size = std::size_t;
  constexpr std::array<Size, 2> patterns[] = {{2, 4}, {3, 4}, {4, 8}, {7, 8}, {14, 16}, {64, 128}};
  for (const auto& nm : patterns) {
    add_family(text("nm_mask_", nm[0], ":", nm[1]), address_of(&Kernels::nm_mask), Reference::read,
               [=](Dtype dtype, Size count) { return nm_problem(dtype, count, nm[0], nm[1]); });
  }
  for (const Size m : {Size{4}, Size{8}, Size{16}, Size{32}, Size{64}}) {
    add_family(text("nm_columns_", m / 2, ":", m), address_of(&Kernels::nm_columns),
               Reference::read,
               [=](Dtype dtype, Size count) { return nm_columns_problem(dtype, count, m); });
  }
  add_family("nm_bands_2:4_3x3", address_of(&Kernels::nm_bands), Reference::read, nm_bands_problem);
  add_family("above_mask", address_of(&Kernels::above_mask), Reference::read, above_problem);
  add_family("bracket_mask", address_of(&Kernels::bracket_mask), Reference::read, bracket_problem);
  add_family("key_histogram", address_of(&Kernels::key_histogram), Reference::read,
             histogram_problem);
  for (const Size size : {Size{4}, Size{16}}) {
    const std::string tile = text("_", size);
    add_family("tile_norms" + tile, address_of(&Kernels::tile_norms), Reference::read,
               [=](Dtype dtype, Size count) { return tile_norms_problem(dtype, count, size); });
    add_family("column_norms" + tile, address_of(&Kernels::column_norms), Reference::read,
               [=](Dtype dtype, Size count) {
                 return norms_of_columns_problem<double>(dtype, count, size,
                                                         &Kernels::column_norms);
               });
    add_family("rough_norms" + tile, address_of(&Kernels::rough_norms), Reference::read,
               [=](Dtype dtype, Size count) {
                 return norms_of_columns_problem<float>(dtype, count, size, &Kernels::rough_norms,
                                                        nullptr);
               });
  }
  for (const int percent : {50, 90}) {
    const std::string sparsity = text("_", percent, "%");
    add_family(
        "compress" + sparsity, address_of(&Kernels::compress), Reference::copy,
        [=](Dtype dtype, Size count) { return compress_problem(dtype, count, percent / 100.0); });
    add_family(
        "expand" + sparsity, address_of(&Kernels::expand), Reference::copy,
        [=](Dtype dtype, Size count) { return expand_problem(dtype, count, percent / 100.0); });
  }
  add_family("apply_mask", address_of(&Kernels::apply_mask), Reference::copy, apply_problem);
  add_count_bits();
}

}  // namespace prunepack::bench
