// Packing, unpacking and applying masks for whole tensors.
#include "prunepack/pack.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>

#include "chunks.h"
#include "flat_mask.h"
#include "scratch.h"

namespace prunepack {
namespace {

// A result that no cache holds when it is done is written past the caches, where its address lets
// whole lines be written.
constexpr std::size_t kStreamBytes = 16 * 1024 * 1024;

// Each chunk waits for its turn to know its place, so turns must not be many.
constexpr std::size_t kPackChunkBytes = 1024 * 1024;

// Hands out consecutive places: the task that comes i-th gets its place when all before it have
// taken theirs. Tasks are begun in order, so whoever is waited for is at work.
class Places {
 public:
  // The first of `count` places for task `i`.
  std::size_t take(std::size_t i, std::size_t count) {
    for (std::size_t turn; (turn = turn_.load(std::memory_order_acquire)) != i;) {
      if (turn == kAbandoned) throw std::bad_alloc();
      turn_.wait(turn);
    }
    const std::size_t first = taken_;
    taken_ += count;
    std::size_t mine = i;
    turn_.compare_exchange_strong(mine, i + 1, std::memory_order_release);
    turn_.notify_all();
    return first;
  }
  // Lets nobody wait for a task that will not come.
  void abandon() {
    turn_.store(kAbandoned, std::memory_order_release);
    turn_.notify_all();
  }
  std::size_t taken() const { return taken_; }

 private:
  static constexpr std::size_t kAbandoned = ~std::size_t{0};

  std::atomic<std::size_t> turn_ = 0;
  std::size_t taken_ = 0;  // belongs to the task whose turn it is
};

// Room for a chunk. Without memory for it, the others are let go.
Scratch<std::uint8_t> room_for_chunk(std::size_t bytes, Places& places) {
  try {
    return Scratch<std::uint8_t>(bytes);
  } catch (const std::bad_alloc&) {
    places.abandon();
    throw;
  }
}

void intersect(std::uint8_t* mask, const std::uint8_t* other, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) mask[i] &= other[i];
}

// Packs a run of weights, and returns how many are kept. In blocks so small that the memory is kept
// busy: while one pass over a block computes, the processor fetches for the next.
class BlockPacker {
 public:
  BlockPacker(const Kernels& kernels, Dtype dtype)
      : above_mask_((*kernels.above_mask)[dtype]),
        compress_((*kernels.compress)[dtype]),
        count_bits_(kernels.count_bits),
        bytes_(width(dtype)) {}

  std::size_t pack(const std::uint8_t* weights, const std::uint8_t* given, std::size_t count,
                   std::uint8_t* mask, std::uint8_t* values) const {
    const std::size_t block = kBlockBytes / bytes_;
    std::size_t kept = 0;
    for (std::size_t first = 0; first < count; first += block) {
      const std::size_t here = std::min(block, count - first);
      const std::uint8_t* from = weights + first * bytes_;
      std::uint8_t* bits = mask + first / 8;
      std::size_t kept_here = above_mask_(from, here, 0, bits);
      if (given != nullptr) {
        intersect(bits, given + first / 8, row_bytes(here));
        kept_here = count_bits_(bits, row_bytes(here));
      }
      compress_(from, bits, here, kept_here, values + kept * bytes_);
      kept += kept_here;
    }
    return kept;
  }

 private:
  static constexpr std::size_t kBlockBytes = 4096;

  AboveMask above_mask_;
  Compress compress_;
  CountBits count_bits_;
  std::size_t bytes_;
};

}  // namespace

std::size_t pack(const Kernels& kernels, const Weights& weights, const std::uint8_t* given,
                 std::uint8_t* mask, void* values, unsigned threads) {
  const auto* data = static_cast<const std::uint8_t*>(weights.data);
  auto* out = static_cast<std::uint8_t*>(values);
  const std::size_t bytes = width(weights.dtype),
                    chunk = chunk_elements(bytes, 64, kPackChunkBytes);
  FlatMask flat(mask, weights.rows, weights.columns);
  std::uint8_t* bits = flat.bits();
  const FlatView given_view(given, weights.rows, given != nullptr ? weights.columns : 0);
  const auto given_from = [&](std::size_t first) {
    return given != nullptr ? given_view.bits() + first / 8 : nullptr;
  };
  const BlockPacker packer(kernels, weights.dtype);

  std::size_t kept = 0;
  if (threads_worth(weights.count() * bytes, threads) == 1) {
    kept = packer.pack(data, given_from(0), weights.count(), bits, out);
  } else {
    // Where a chunk's values go is known when those before it are counted: until then they wait in
    // the core's cache.
    Places places;
    for_chunks(
        weights.count(), bytes, 64, threads,
        [&](std::size_t first, std::size_t count) {
          Scratch<std::uint8_t> packed = room_for_chunk(chunk * bytes, places);
          const std::size_t here = packer.pack(data + first * bytes, given_from(first), count,
                                               bits + first / 8, packed.get());
          const std::size_t place = places.take(first / chunk, here);
          std::memcpy(out + place * bytes, packed.get(), here * bytes);
        },
        kPackChunkBytes);
    kept = places.taken();
  }
  flat.finish();
  return kept;
}

void unpack(const Kernels& kernels, const std::uint8_t* mask, const void* values, std::size_t kept,
            Dtype dtype, std::size_t rows, std::size_t columns, void* weights, unsigned threads) {
  const auto* in = static_cast<const std::uint8_t*>(values);
  auto* out = static_cast<std::uint8_t*>(weights);
  const std::size_t bytes = width(dtype), chunk = chunk_elements(bytes, 64);
  const FlatView flat(mask, rows, columns);
  const bool streams = rows * columns * bytes >= kStreamBytes &&
                       reinterpret_cast<std::uintptr_t>(weights) % kStreamAlignment == 0;
  const Expand expand = streams ? (*kernels.expand_stream)[dtype] : (*kernels.expand)[dtype];

  Places places;
  for_chunks(rows * columns, bytes, 64, threads, [&](std::size_t first, std::size_t count) {
    const std::uint8_t* bits = flat.bits() + first / 8;
    const std::size_t here = kernels.count_bits(bits, row_bytes(count));
    const std::size_t place = places.take(first / chunk, here);
    if (place + here > kept) return;  // a mask that changed since it was checked
    expand(bits, in + place * bytes, here, count, out + first * bytes);
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
