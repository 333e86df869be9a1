// nm_mask for whole tensors: groups along the last axis, and the remainders of lines.
#include <algorithm>
#include <vector>

#include "bits.h"
#include "chunks.h"
#include "flat_mask.h"
#include "nm_across.h"
#include "nm_groups.h"
#include "nm_lines.h"
#include "prunepack/masks.h"

namespace prunepack {
namespace {

// Of a chunk, which begins with groups that take longer, because where cuts are is not known yet.
constexpr std::size_t kGroupsAtOnce = 64, kMostAtOnce = 4 * kChunkBytes;

// Groups that fill their lines: one flat run of groups, whatever the lines.
void whole_groups(const Kernels& kernels, const Weights& weights, NmPattern pattern,
                  std::uint8_t* bits, unsigned threads) {
  const auto* data = static_cast<const std::uint8_t*>(weights.data);
  const std::size_t bytes = width(weights.dtype), all = weights.count() * bytes;
  const std::size_t most = std::max(kChunkBytes, std::min(kMostAtOnce, all / threads));
  const std::size_t chunk = std::clamp(kGroupsAtOnce * pattern.m * bytes, kChunkBytes, most);
  for_chunks(
      weights.count(), bytes, 8 * pattern.m, threads,
      [&](std::size_t first, std::size_t count) {
        const auto groups = nm_groups(kernels, weights.dtype, pattern);
        groups->write(data + first * bytes, count / pattern.m, bits + first / 8);
      },
      chunk);
}

// Lines that end in a smaller group. Eight lines always end on a whole byte.
void lines_with_rest(const Kernels& kernels, const Weights& weights, const Lines& lines,
                     NmPattern pattern, std::uint8_t* bits, unsigned threads) {
  const auto* data = static_cast<const std::uint8_t*>(weights.data);
  const std::size_t bytes = width(weights.dtype);
  for_chunks(lines.outer, bytes * lines.length, 8, threads,
             [&](std::size_t first, std::size_t count) {
               LineMask mask(kernels, weights.dtype, pattern);
               std::vector<std::uint8_t> line_bits(row_bytes(lines.length));
               BitWriter out(bits, first * lines.length);
               for (std::size_t line = first; line < first + count; ++line) {
                 mask.write(data + line * lines.length * bytes, lines.length, line_bits.data());
                 out.append(line_bits.data(), 0, lines.length);
               }
             });
}

}  // namespace

void nm_mask(const Kernels& kernels, const Weights& weights, const Lines& lines, std::size_t n,
             std::size_t m, std::uint8_t* mask, unsigned threads) {
  if (weights.count() == 0) return;
  // A line shorter than a group is one smaller group.
  NmPattern pattern{n, m};
  if (m > lines.length) pattern = {pattern.pruned_of(lines.length), lines.length};

  if (lines.inner > 1) return nm_mask_across(kernels, weights, lines, pattern, mask, threads);
  FlatMask flat(mask, weights.rows, weights.columns);
  if (lines.length % pattern.m == 0) {
    whole_groups(kernels, weights, pattern, flat.bits(), threads);
  } else {
    lines_with_rest(kernels, weights, lines, pattern, flat.bits(), threads);
  }
  flat.finish();
}

}  // namespace prunepack
