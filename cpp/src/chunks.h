// How a flat run of elements is cut into pieces of work.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>

#include "prunepack/threads.h"

namespace prunepack {

// A piece of a tensor that stays in a core's L2 cache while several kernels pass over it.
inline constexpr std::size_t kChunkBytes = 256 * 1024;

// Below this a second thread costs more than it brings.
inline constexpr std::size_t kBytesPerThread = 512 * 1024;

inline unsigned threads_worth(std::size_t bytes, unsigned threads) {
  return static_cast<unsigned>(std::clamp<std::size_t>(bytes / kBytesPerThread, 1, threads));
}

// The elements of a chunk: a multiple of `step`, so that each begins at a whole step.
inline std::size_t chunk_elements(std::size_t element_bytes, std::size_t step,
                                  std::size_t chunk_bytes = kChunkBytes) {
  return std::max<std::size_t>(chunk_bytes / element_bytes / step, 1) * step;
}

// Calls work(first, count) for every chunk of `count` elements of `element_bytes` bytes, each
// beginning at a multiple of `step`. Chunks start in order.
template <class Work>
void for_chunks(std::size_t count, std::size_t element_bytes, std::size_t step, unsigned threads,
                const Work& work, std::size_t chunk_bytes = kChunkBytes) {
  const std::size_t chunk = chunk_elements(element_bytes, step, chunk_bytes);
  parallel_for((count + chunk - 1) / chunk, threads_worth(count * element_bytes, threads),
               [&](std::size_t i) { work(i * chunk, std::min(chunk, count - i * chunk)); });
}

}  // namespace prunepack
