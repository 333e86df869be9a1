// Packing, unpacking and applying masks for whole tensors.
#include "prunepack/pack.h"

#include <atomic>
#include <vector>

#include "chunks.h"
#include "flat_mask.h"

namespace prunepack {
namespace {

// Hands out consecutive places: the task that comes i-th gets its place when all before it have
// taken theirs. Tasks are begun in order, so whoever is waited for is at work.
class Places {
 public:
  // The first of `count` places for task `i`.
  std::size_t take(std::size_t i, std::size_t count) {
    for (std::size_t turn; (turn = turn_.load(std::memory_order_acquire)) != i;) turn_.wait(turn);
    const std::size_t first = taken_;
    taken_ += count;
    turn_.store(i + 1, std::memory_order_release);
    turn_.notify_all();
    return first;
  }
  std::size_t taken() const { return taken_; }

 private:
  std::atomic<std::size_t> turn_ = 0;
  std::size_t taken_ = 0;  // belongs to the task whose turn it is
};

void intersect(std::uint8_t* mask, const std::uint8_t* other, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) mask[i] &= other[i];
}

}  // namespace

std::size_t pack(const Kernels& kernels, const Weights& weights, const std::uint8_t* given,
                 std::uint8_t* mask, void* values, unsigned threads) {
  const auto* data = static_cast<const std::uint8_t*>(weights.data);
  auto* out = static_cast<std::uint8_t*>(values);
  const std::size_t bytes = width(weights.dtype), chunk = chunk_elements(bytes, 64);
  FlatMask flat(mask, weights.rows, weights.columns);
  std::uint8_t* bits = flat.bits();
  const FlatView wanted(given, weights.rows, given ? weights.columns : 0);
  Places places;

  for_chunks(weights.count(), bytes, 64, threads, [&](std::size_t first, std::size_t count) {
    std::uint8_t* chunk_bits = bits + first / 8;
    std::size_t kept =
        (*kernels.above_mask)[weights.dtype](data + first * bytes, count, 0, chunk_bits);
    if (given != nullptr) {
      intersect(chunk_bits, wanted.bits() + first / 8, row_bytes(count));
      kept = kernels.count_bits(chunk_bits, row_bytes(count));
    }
    const std::size_t place = places.take(first / chunk, kept);
    (*kernels.compress)[weights.dtype](data + first * bytes, chunk_bits, count, kept,
                                       out + place * bytes);
  });
  flat.finish();
  return places.taken();
}

void unpack(const Kernels& kernels, const std::uint8_t* mask, const void* values, std::size_t kept,
            Dtype dtype, std::size_t rows, std::size_t columns, void* weights, unsigned threads) {
  const auto* in = static_cast<const std::uint8_t*>(values);
  auto* out = static_cast<std::uint8_t*>(weights);
  const std::size_t bytes = width(dtype), chunk = chunk_elements(bytes, 64);
  const FlatView flat(mask, rows, columns);

  Places places;
  for_chunks(rows * columns, bytes, 64, threads, [&](std::size_t first, std::size_t count) {
    const std::uint8_t* bits = flat.bits() + first / 8;
    const std::size_t here = kernels.count_bits(bits, row_bytes(count));
    const std::size_t place = places.take(first / chunk, here);
    if (place + here > kept) return;  // a mask that changed since it was checked
    (*kernels.expand)[dtype](bits, in + place * bytes, here, count, out + first * bytes);
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
