// How something is benchmarked: checked against scalar, then timed in turns with its reference.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "data.h"
#include "prunepack/kernels.h"
#include "reference.h"

namespace prunepack::bench {

// The bytes of the dense tensors: at first in L2, in L3 and beyond any cache. Multiples of the
// smallest, so that rows and tiles come out even.
inline constexpr std::size_t kSmallestSize = std::size_t{256} << 10;
std::vector<std::size_t>& sizes();

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

using Run = std::function<void(const Kernels& kernels, unsigned threads)>;

// Something that can be run with any table, on inputs of its own.
struct Problem {
  Run run;
  SharedBuffer dense;                 // what the reference reads
  std::vector<SharedBuffer> outputs;  // what a run writes
  // The part of the outputs that must be the same as scalar's; all of them if empty.
  std::function<std::vector<std::span<const std::uint8_t>>()> results = {};
  Run run_dense = {};  // for Reference::dense
};

struct Contest {
  std::string name;  // operation_dtype
  std::size_t dense_bytes;
  Reference reference;  // beside a dense product, what only reads takes its turn too
  std::function<Problem()> make;
};

// Registers a benchmark `name/isa/bytes:N` of one thread, or `name/isa/bytes:N/threads:T`.
void add_kernel(const Contest& contest, const std::vector<const Kernels*>& tables);
void add_operation(const Contest& contest, const std::vector<const Kernels*>& tables);

// The tables this machine can run, worst first.
std::vector<const Kernels*> usable_tables();

void add_kernels();
void add_operations();
void add_products();

}  // namespace prunepack::bench
