// key_histogram for whole tensors: tables for every thread, added up at the end.
#include <algorithm>
#include <mutex>

#include "chunks.h"
#include "prunepack/describe.h"
#include "scratch.h"

namespace prunepack {

void key_histogram(const Kernels& kernels, const void* weights, Dtype dtype, std::size_t count,
                   std::uint64_t low, unsigned shift, std::size_t bins, std::int64_t* counts,
                   unsigned threads) {
  constexpr std::size_t most_in_part = std::size_t{1} << 30;  // so that no count overflows
  const auto* data = static_cast<const std::uint8_t*>(weights);
  const std::size_t bytes = width(dtype), table = bins + 2;
  const std::size_t shares = threads_worth(count * bytes, threads);
  const std::size_t part = std::clamp<std::size_t>((count + shares - 1) / shares, 1, most_in_part);
  std::mutex adding;
  parallel_for((count + part - 1) / part, threads, [&](std::size_t i) {
    Scratch<std::uint32_t> own(kHistogramTables * table);
    std::fill_n(own.get(), kHistogramTables * table, 0u);
    (*kernels.key_histogram)[dtype](data + i * part * bytes, std::min(part, count - i * part), low,
                                    shift, bins, own.get());
    const std::lock_guard lock(adding);
    for (std::size_t t = 0; t < kHistogramTables; ++t) {
      for (std::size_t bin = 0; bin < table; ++bin) counts[bin] += own[t * table + bin];
    }
  });
}

}  // namespace prunepack
