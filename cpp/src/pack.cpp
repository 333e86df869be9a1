// Packing, unpacking and applying masks for whole tensors.
#include "prunepack/pack.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <vector>

#include "chunks.h"
#include "flat_mask.h"

namespace prunepack {
namespace {

// A result that no cache holds when it is done is written past the caches, where its address lets
// whole lines be written.
constexpr std::size_t kStreamBytes = 16 * 1024 * 1024;

// Chunks whose kept weights are counted in any order and then moved, by any thread, as soon as
// those before them are counted too: nobody waits.
class Places {
 public:
  explicit Places(std::size_t chunks) : counts_(chunks, kUnknown) {}

  struct Chunk {
    std::size_t index, place, kept;
  };

  // `move(chunk)` is called for all chunks, in the end, but perhaps not for this one here and now.
  template <class Move>
  void counted(std::size_t index, std::size_t kept, const Move& move) {
    {
      const std::lock_guard lock(mutex_);
      counts_[index] = kept;
    }
    while (const std::optional<Chunk> chunk = next()) move(*chunk);
  }

  // Of all chunks, when they are all moved.
  std::size_t kept() const { return place_; }

 private:
  static constexpr std::size_t kUnknown = ~std::size_t{0};

  std::optional<Chunk> next() {
    const std::lock_guard lock(mutex_);
    if (next_ == counts_.size() || counts_[next_] == kUnknown) return std::nullopt;
    const Chunk chunk{next_, place_, counts_[next_]};
    place_ += chunk.kept;
    ++next_;
    return chunk;
  }

  std::mutex mutex_;  // guards what follows
  std::vector<std::size_t> counts_;
  std::size_t next_ = 0, place_ = 0;
};

void intersect(std::uint8_t* mask, const std::uint8_t* other, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) mask[i] &= other[i];
}

// Packs runs of weights.
class Packer {
 public:
  Packer(const Kernels& kernels, Dtype dtype)
      : above_mask_((*kernels.above_mask)[dtype]),
        compress_((*kernels.compress)[dtype]),
        compress_stream_((*kernels.compress_stream)[dtype]),
        count_bits_(kernels.count_bits),
        bytes_(width(dtype)) {}

  // Writes the mask of what is kept; returns how many that is.
  std::size_t choose(const std::uint8_t* weights, const std::uint8_t* given, std::size_t count,
                     std::uint8_t* mask) const {
    const std::size_t kept = above_mask_(weights, count, 0, mask);
    if (given == nullptr) return kept;
    intersect(mask, given, row_bytes(count));
    return count_bits_(mask, row_bytes(count));
  }

  // `room` is how many elements of `values` may be written; faster if more than are kept.
  void compress(const std::uint8_t* weights, const std::uint8_t* mask, std::size_t count,
                std::size_t room, std::uint8_t* values, bool streams = false) const {
    (streams ? compress_stream_ : compress_)(weights, mask, count, room, values);
  }

  // Both, in blocks so small that the memory is kept busy: while one pass over a block computes,
  // the processor fetches for the next. `values` has room for `count`.
  std::size_t pack(const std::uint8_t* weights, const std::uint8_t* given, std::size_t count,
                   std::uint8_t* mask, std::uint8_t* values) const {
    const std::size_t block = kBlockBytes / bytes_;
    std::size_t kept = 0;
    for (std::size_t first = 0; first < count; first += block) {
      const std::size_t here = std::min(block, count - first);
      const std::uint8_t* from = weights + first * bytes_;
      std::uint8_t* bits = mask + first / 8;
      const std::size_t kept_here =
          choose(from, given != nullptr ? given + first / 8 : nullptr, here, bits);
      compress(from, bits, here, count - kept, values + kept * bytes_);
      kept += kept_here;
    }
    return kept;
  }

 private:
  static constexpr std::size_t kBlockBytes = 4096;

  AboveMask above_mask_;
  Compress compress_;
  CompressStream compress_stream_;
  CountBits count_bits_;
  std::size_t bytes_;
};

}  // namespace

std::size_t pack(const Kernels& kernels, const Weights& weights, const std::uint8_t* given,
                 std::uint8_t* mask, void* values, unsigned threads) {
  const auto* data = static_cast<const std::uint8_t*>(weights.data);
  auto* out = static_cast<std::uint8_t*>(values);
  const std::size_t bytes = width(weights.dtype);
  FlatMask flat(mask, weights.rows, weights.columns);
  std::uint8_t* bits = flat.bits();
  const FlatView given_view(given, weights.rows, given != nullptr ? weights.columns : 0);
  const auto given_from = [&](std::size_t first) {
    return given != nullptr ? given_view.bits() + first / 8 : nullptr;
  };
  const Packer packer(kernels, weights.dtype);

  std::size_t kept = 0;
  if (threads_worth(weights.count() * bytes, threads) == 1) {
    kept = packer.pack(data, given_from(0), weights.count(), bits, out);
  } else {
    const std::size_t chunk = chunk_elements(bytes, 64);
    const bool streams = weights.count() * bytes >= 2 * kStreamBytes;
    Places places((weights.count() + chunk - 1) / chunk);
    for_chunks(weights.count(), bytes, 64, threads, [&](std::size_t first, std::size_t count) {
      const std::size_t here =
          packer.choose(data + first * bytes, given_from(first), count, bits + first / 8);
      places.counted(first / chunk, here, [&](const Places::Chunk& one) {
        const std::size_t begin = one.index * chunk;
        packer.compress(data + begin * bytes, bits + begin / 8,
                        std::min(chunk, weights.count() - begin), one.kept, out + one.place * bytes,
                        streams);
      });
    });
    kept = places.kept();
  }
  flat.finish();
  return kept;
}

void unpack(const Kernels& kernels, const std::uint8_t* mask, const void* values, std::size_t kept,
            Dtype dtype, std::size_t rows, std::size_t columns, void* weights, unsigned threads) {
  const auto* in = static_cast<const std::uint8_t*>(values);
  auto* out = static_cast<std::uint8_t*>(weights);
  const std::size_t count = rows * columns, bytes = width(dtype), chunk = chunk_elements(bytes, 64);
  const FlatView flat(mask, rows, columns);
  const bool streams = count * bytes >= kStreamBytes &&
                       reinterpret_cast<std::uintptr_t>(weights) % kStreamAlignment == 0;
  const Expand expand = streams ? (*kernels.expand_stream)[dtype] : (*kernels.expand)[dtype];

  if (threads_worth(count * bytes, threads) == 1) {
    return expand(flat.bits(), in, kept, count, out);
  }
  Places places((count + chunk - 1) / chunk);
  for_chunks(count, bytes, 64, threads, [&](std::size_t first, std::size_t here) {
    const std::size_t set = kernels.count_bits(flat.bits() + first / 8, row_bytes(here));
    places.counted(first / chunk, set, [&](const Places::Chunk& one) {
      if (one.place > kept) return;  // a mask that changed since it was checked
      const std::size_t begin = one.index * chunk;
      expand(flat.bits() + begin / 8, in + one.place * bytes, kept - one.place,
             std::min(chunk, count - begin), out + begin * bytes);
    });
  });
}

void apply_mask(const Kernels& kernels, const Weights& weights, const std::uint8_t* mask, void* out,
                unsigned threads) {
  const auto* data = static_cast<const std::uint8_t*>(weights.data);
  auto* to = static_cast<std::uint8_t*>(out);
  const std::size_t bytes = width(weights.dtype);
  const FlatView flat(mask, weights.rows, weights.columns);
  for_chunks(weights.count(), bytes, 64, threads, [&](std::size_t first, std::size_t count) {
    (*kernels.apply_mask)[weights.dtype](data + first * bytes, flat.bits() + first / 8, count,
                                         to + first * bytes);
  });
}

void count_rows(const Kernels& kernels, const std::uint8_t* mask, std::size_t rows,
                std::size_t row_bytes, std::int64_t* counts) {
  for (std::size_t row = 0; row < rows; ++row) {
    counts[row] = static_cast<std::int64_t>(kernels.count_bits(mask + row * row_bytes, row_bytes));
  }
}

}  // namespace prunepack
