#include "rough_norms.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "float_mode.h"
#include "listing_pass.h"
#include "select.h"

namespace prunepack {
namespace {

// Samples that may miss before all norms are computed.
constexpr unsigned kAttempts = 2;

// Looking up the norm of one tile costs as much as computing those of very many.
constexpr std::size_t kTilesPerLookUp = 512;

// How many bytes before their use weights are fetched, at least.
constexpr std::size_t kFetchAhead = 32 * 1024;

// The part by which a rough norm of `size` elements may be off; 0 if it is exact: the largest key
// is, and so are sums of integers below 2^24.
double error_part(Dtype dtype, Norm norm, std::size_t size) {
  const bool is_integer = dtype == Dtype::int8 || dtype == Dtype::uint8;
  const std::size_t largest_term = norm == Norm::l2 ? 255 * 255 : 255;
  if (norm == Norm::max && dtype != Dtype::float64) return 0;
  if (is_integer && size * largest_term <= 1 << 24) return 0;
  return static_cast<double>(size + 5) * 0x1p-24;
}

std::uint64_t key_of(float norm) {
  std::uint32_t bits;
  std::memcpy(&bits, &norm, sizeof bits);
  return bits;
}

std::uint64_t key_of(double norm) {
  std::uint64_t bits;
  std::memcpy(&bits, &norm, sizeof bits);
  return bits;
}

// Of the tiles at `positions`, which are in order: keeps the `kept` with the largest norms, of
// equal ones the last.
void keep_largest(const Population& norms, const std::vector<std::size_t>& positions,
                  std::size_t kept, std::uint8_t* bits) {
  std::vector<std::pair<std::uint64_t, std::size_t>> ranked;
  for (const std::size_t position : positions) {
    double norm;
    std::memcpy(&norm, norms.read(position, 1, &norm), sizeof norm);
    ranked.emplace_back(key_of(norm), position);
  }
  std::sort(ranked.begin(), ranked.end());
  for (std::size_t i = ranked.size() - kept; i < ranked.size(); ++i) {
    const std::size_t position = ranked[i].second;
    bits[position / 8] = static_cast<std::uint8_t>(bits[position / 8] | 1u << position % 8);
  }
}

}  // namespace

RoughNormsOf::RoughNormsOf(const Kernels& kernels, const void* data, Dtype dtype,
                           const Tiling& tiling, Norm norm)
    : Population(Dtype::float32, tiling.bands() * tiling.tiles_in_band()),
      data_(static_cast<const std::uint8_t*>(data)),
      bytes_(width(dtype)),
      rough_norms_((*kernels.rough_norms)[dtype]),
      tiling_(tiling),
      norm_(norm),
      part_(error_part(dtype, norm, tiling.band(0).lines)) {}

bool RoughNormsOf::fits(const Tiling& tiling) {
  if (tiling.last().tile != 1) return false;
  const Tiling::Band largest = tiling.band(0);
  return largest.starts.empty() && largest.lines <= kLargest;
}

// With r the rough norm at the cut and t the norm there, t is within a part of r, because the
// errors of all norms are: those of equal rank differ by no more than some pair does. A rough norm
// beyond the ends of the range is so far from r that its norm is beyond t, on the same side.
std::optional<KeyRange> RoughNormsOf::unsure(std::uint64_t key) const {
  float at_cut;
  const auto bits = static_cast<std::uint32_t>(key);
  std::memcpy(&at_cut, &bits, sizeof at_cut);
  if (!(at_cut >= 0x1p-100f && at_cut <= 0x1p118f)) return std::nullopt;
  const double low = at_cut * (1 - part_) / (1 + part_), high = at_cut * (1 + part_) / (1 - part_);
  // To float32 they are rounded to the nearest, which is next to them.
  return KeyRange{key_of(static_cast<float>(low)) - 1, key_of(static_cast<float>(high)) + 1};
}

const void* RoughNormsOf::read(std::size_t first, std::size_t count, void* scratch) const {
  compute(first, count, 0, static_cast<float*>(scratch));
  return scratch;
}

// The bands follow each other in memory, so what is needed next is the next band, whose rows the
// processor does not see coming.
const void* RoughNormsOf::read_in_order(std::size_t first, std::size_t count, void* scratch) const {
  const Tiling::Band band = tiling_.band(0);
  const std::size_t bytes = band.lines * tiling_.tiles_in_band() * bytes_;
  compute(first, count, (kFetchAhead + bytes - 1) / bytes * bytes, static_cast<float*>(scratch));
  return scratch;
}

void RoughNormsOf::compute(std::size_t first, std::size_t count, std::size_t ahead,
                           float* norms) const {
  const DefaultFloatMode same_everywhere;
  const std::size_t in_band = tiling_.tiles_in_band();
  for (std::size_t done = 0; done < count;) {
    const std::size_t tile = (first + done) % in_band;
    const std::size_t run = std::min(in_band - tile, count - done);
    const Tiling::Band band = tiling_.band((first + done) / in_band);
    const std::uint8_t* begin = data_ + band.first * bytes_;
    const std::uint8_t* next = ahead == 0 ? nullptr : begin + tile * band.lines * bytes_ + ahead;
    rough_norms_(begin + tile * bytes_, band.stride, band.lines, run, norm_, next, norms + done);
    done += run;
  }
}

bool select_roughly(const Kernels& kernels, const RoughNormsOf& rough, const Population& norms,
                    std::size_t pruned, std::uint8_t* bits, unsigned threads) {
  const std::size_t count = rough.count(), kept = count - pruned;
  if (pruned == 0 || kept == 0 || count * width(rough.dtype()) <= kSmallBytes) return false;
  if (rough.is_exact()) {
    select(kernels, rough, pruned, bits, threads);
    return true;
  }
  const KeyRange all{0, max_key(rough.dtype())};
  ListingPass<std::uint32_t> pass(kernels, rough, bits, threads);
  for (unsigned attempt = 0; attempt < kAttempts; ++attempt) {
    const Guess guess = likely_cut(kernels, rough, pruned, all, attempt);
    if (guess.has_many_ties) return false;
    const Above found = pass.list(guess.listed, guess.part);
    if (found.above >= kept || found.above + found.tied < kept) continue;

    const OrderStatistics<std::uint32_t> ranked = pass.ranked();
    const std::uint64_t cut =
        ranked.key_of_rank(found.above + found.tied - kept, guess.listed.low, guess.listed.high);
    const std::optional<KeyRange> unsure = rough.unsure(cut);
    if (!unsure) return false;
    if (unsure->low < guess.listed.low || unsure->high > guess.listed.high) continue;
    const std::size_t surely_kept = found.above + ranked.count_above(unsure->high);
    const std::size_t perhaps =
        ranked.count_above(unsure->low - 1) - ranked.count_above(unsure->high);
    if (perhaps > count / kTilesPerLookUp) return false;
    pass.keep_from(static_cast<std::uint32_t>(unsure->high + 1), 0);
    keep_largest(norms, pass.positions_in(*unsure), kept - surely_kept, bits);
    return true;
  }
  return false;
}

}  // namespace prunepack
