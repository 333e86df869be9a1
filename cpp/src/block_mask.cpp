// block_mask for whole tensors: norms of tiles, the smallest of them, and their mask spread out.
#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "bits.h"
#include "chunks.h"
#include "flat_mask.h"
#include "prunepack/masks.h"

namespace prunepack {
namespace {

struct Axis {
  std::size_t extent, tile;
  std::size_t tiles() const { return (extent + tile - 1) / tile; }
};

// The same tiles over fewer axes. Two neighbouring axes are one when the tile is 1 wide on the
// outer one and does not straddle the inner one, or covers the whole inner one.
std::vector<Axis> merged(std::span<const std::size_t> shape, std::span<const std::size_t> tile) {
  std::vector<Axis> axes;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const Axis inner{shape[i], std::min(tile[i], shape[i])};
    if (axes.empty()) {
      axes.push_back(inner);
      continue;
    }
    Axis& outer = axes.back();
    if (inner.tile == inner.extent) {
      outer = {outer.extent * inner.extent, outer.tile * inner.extent};
    } else if (outer.tile == 1 && inner.extent % inner.tile == 0) {
      outer = {outer.extent * inner.extent, inner.tile};
    } else {
      axes.push_back(inner);
    }
  }
  return axes;
}

class Tiling {
 public:
  Tiling(const Kernels& kernels, const void* data, Dtype dtype, std::vector<Axis> axes, Norm norm)
      : data_(static_cast<const std::uint8_t*>(data)),
        bytes_(width(dtype)),
        tile_norms_((*kernels.tile_norms)[dtype]),
        column_norms_((*kernels.column_norms)[dtype]),
        axes_(std::move(axes)),
        norm_(norm) {
    // Bands: the tensor is a row of bands, one for each tile index over all axes but the last.
    for (std::size_t i = 0; i + 1 < axes_.size(); ++i) bands_ *= axes_[i].tiles();
    strides_.resize(axes_.size());
    std::size_t stride = 1;
    for (std::size_t i = axes_.size(); i-- > 0; stride *= axes_[i].extent) strides_[i] = stride;
  }

  std::size_t tiles() const { return bands_ * last().tiles(); }

  void norms(double* norms, unsigned threads) const {
    const std::size_t per_band = last().tiles();
    parallel_for(bands_, threads,
                 [&](std::size_t band) { norms_of_band(lines(band), norms + band * per_band); });
  }

  // The mask of all elements from the mask of the tiles.
  void spread(const std::uint8_t* tile_bits, std::uint8_t* bits) const {
    const Axis axis = last();
    const std::size_t per_band = axis.tiles();
    std::vector<std::uint8_t> line(row_bytes(axis.extent));
    std::memset(bits, 0, row_bytes(strides_[0] * axes_[0].extent));
    for (std::size_t band = 0; band < bands_; ++band) {
      write_line(tile_bits, band * per_band, line.data());
      for (const std::size_t start : lines(band)) {
        BitPatch(bits, start).write(line.data(), axis.extent);
      }
    }
  }

 private:
  // Writes bits in the middle of others.
  class BitPatch {
   public:
    BitPatch(std::uint8_t* bits, std::size_t first) : bits_(bits), first_(first) {}
    void write(const std::uint8_t* from, std::size_t count) {
      const std::size_t end = first_ + count;
      const std::uint8_t last = end % 8 != 0 ? bits_[end / 8] : std::uint8_t{0};
      BitWriter(bits_, first_).append(from, 0, count);
      if (end % 8 != 0) {
        const auto after = static_cast<std::uint8_t>(last & ~((1u << end % 8) - 1));
        bits_[end / 8] = static_cast<std::uint8_t>(bits_[end / 8] | after);
      }
    }

   private:
    std::uint8_t* bits_;
    std::size_t first_;
  };

  const Axis& last() const { return axes_.back(); }

  // Where the lines of a band begin: the runs along the last axis that its tiles cut through.
  std::vector<std::size_t> lines(std::size_t band) const {
    std::vector<std::size_t> starts{0};
    std::size_t rest = band;
    for (std::size_t i = axes_.size() - 1; i-- > 0; rest /= axes_[i].tiles()) {
      const std::size_t from = rest % axes_[i].tiles() * axes_[i].tile;
      const std::size_t to = std::min(from + axes_[i].tile, axes_[i].extent);
      std::vector<std::size_t> more;
      more.reserve(starts.size() * (to - from));
      for (std::size_t at = from; at < to; ++at) {
        for (const std::size_t start : starts) more.push_back(at * strides_[i] + start);
      }
      starts = std::move(more);
    }
    return starts;
  }

  void norms_of_band(const std::vector<std::size_t>& lines, double* norms) const {
    const Axis axis = last();
    const std::size_t whole = axis.extent / axis.tile;
    if (lines.size() == 1) {
      tile_norms_(at(lines[0]), whole, axis.tile, norm_, norms);
      if (const std::size_t rest = axis.extent % axis.tile; rest > 0) {
        tile_norms_(at(lines[0] + whole * axis.tile), 1, rest, norm_, norms + whole);
      }
    } else if (axis.tile == 1 && evenly_spaced(lines)) {
      column_norms_(at(lines[0]), lines[1] - lines[0], lines.size(), axis.extent, norm_, norms);
    } else {
      gathered_norms(lines, norms);
    }
  }

  // Tiles that are neither runs nor columns are copied together first.
  void gathered_norms(const std::vector<std::size_t>& lines, double* norms) const {
    const Axis axis = last();
    std::vector<std::uint8_t> tile(lines.size() * axis.tile * bytes_);
    for (std::size_t t = 0; t < axis.tiles(); ++t) {
      const std::size_t first = t * axis.tile, run = std::min(axis.tile, axis.extent - first);
      std::uint8_t* to = tile.data();
      for (const std::size_t start : lines) {
        std::memcpy(to, at(start + first), run * bytes_);
        to += run * bytes_;
      }
      tile_norms_(tile.data(), 1, lines.size() * run, norm_, norms + t);
    }
  }

  static bool evenly_spaced(const std::vector<std::size_t>& lines) {
    for (std::size_t i = 2; i < lines.size(); ++i) {
      if (lines[i] - lines[i - 1] != lines[1] - lines[0]) return false;
    }
    return true;
  }

  void write_line(const std::uint8_t* tile_bits, std::size_t first, std::uint8_t* line) const {
    const Axis axis = last();
    BitWriter out(line, 0);
    if (axis.tile == 1) return out.append(tile_bits, first, axis.extent);
    for (std::size_t t = 0; t < axis.tiles(); ++t) {
      const bool kept = bit_at(tile_bits, first + t);
      std::size_t run = std::min(axis.tile, axis.extent - t * axis.tile);
      for (std::size_t step; run > 0; run -= step) {
        step = std::min<std::size_t>(run, 56);
        out.append(kept ? (std::uint64_t{1} << step) - 1 : 0, step);
      }
    }
  }

  const void* at(std::size_t element) const { return data_ + element * bytes_; }

  const std::uint8_t* data_;
  std::size_t bytes_;
  TileNorms tile_norms_;
  ColumnNorms column_norms_;
  std::vector<Axis> axes_;
  Norm norm_;
  std::size_t bands_ = 1;
  std::vector<std::size_t> strides_;
};

}  // namespace

void block_mask(const Kernels& kernels, const Weights& weights, std::span<const std::size_t> shape,
                std::span<const std::size_t> tile, Norm norm, std::size_t pruned,
                std::uint8_t* mask, unsigned threads) {
  if (weights.count() == 0) return;
  const Tiling tiling(kernels, weights.data, weights.dtype, merged(shape, tile), norm);
  const std::size_t tiles = tiling.tiles();
  const auto norms = std::make_unique_for_overwrite<double[]>(tiles);
  tiling.norms(norms.get(), threads_worth(weights.count() * width(weights.dtype), threads));

  std::vector<std::uint8_t> tile_bits(row_bytes(tiles));
  smallest_mask(kernels, {norms.get(), Dtype::float64, 1, tiles}, 1, pruned, tile_bits.data(),
                threads);

  FlatMask flat(mask, weights.rows, weights.columns);
  tiling.spread(tile_bits.data(), flat.bits());
  flat.finish();
}

}  // namespace prunepack
