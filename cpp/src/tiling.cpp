#include "tiling.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "bits.h"
#include "chunks.h"
#include "float_mode.h"

namespace prunepack {

// Two neighbouring axes are one when the tile covers the whole inner one, or is 1 wide on the outer
// one and does not straddle the inner one.
std::vector<TiledAxis> tiled_axes(std::span<const std::size_t> shape,
                                  std::span<const std::size_t> tile) {
  std::vector<TiledAxis> axes;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const TiledAxis inner{shape[i], std::min(tile[i], shape[i])};
    if (axes.empty()) {
      axes.push_back(inner);
      continue;
    }
    TiledAxis& outer = axes.back();
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

Tiling::Tiling(std::vector<TiledAxis> axes) : axes_(std::move(axes)), strides_(axes_.size()) {
  for (std::size_t i = 0; i + 1 < axes_.size(); ++i) bands_ *= axes_[i].tiles();
  std::size_t stride = 1;
  for (std::size_t i = axes_.size(); i-- > 0; stride *= axes_[i].extent) strides_[i] = stride;
}

Tiling::Band Tiling::band(std::size_t index) const {
  Band band{0, 0, 1, {}};
  for (std::size_t i = axes_.size() - 1; i-- > 0; index /= axes_[i].tiles()) {
    const TiledAxis& axis = axes_[i];
    const std::size_t from = index % axis.tiles() * axis.tile;
    const std::size_t lines = std::min(axis.tile, axis.extent - from);
    band.first += from * strides_[i];
    if (lines == 1) continue;
    if (band.lines == 1) {
      band.stride = strides_[i];
      band.lines = lines;
      continue;
    }
    // A second axis of tiles: from here on the starts are kept one by one, without `first`.
    std::vector<std::size_t> starts;
    for (std::size_t outer = 0; outer < lines; ++outer) {
      for (std::size_t line = 0; line < band.lines; ++line) {
        const std::size_t within = band.starts.empty() ? line * band.stride : band.starts[line];
        starts.push_back(outer * strides_[i] + within);
      }
    }
    band.lines = starts.size();
    band.starts = std::move(starts);
  }
  for (std::size_t& start : band.starts) start += band.first;
  return band;
}

namespace {

// Repeats each bit of a mask `times` times: a table does several bits at once.
class Repeated {
 public:
  explicit Repeated(std::size_t times)
      : times_(times), bits_(std::clamp<std::size_t>(64 / times, 1, 8)) {
    if (bits_ == 1) return;
    for (std::size_t pattern = 0; pattern < std::size_t{1} << bits_; ++pattern) {
      const auto byte = static_cast<std::uint8_t>(pattern);
      for (std::size_t i = 0; i < bits_; ++i) {
        if (bit_at(&byte, i)) table_[pattern] |= low_bits(times_) << (i * times_);
      }
    }
  }

  void append(const std::uint8_t* from, std::size_t first, std::size_t count,
              BitWriter& out) const {
    std::size_t i = 0;
    for (; bits_ > 1 && i + bits_ <= count; i += bits_) {
      out.append(table_[read_bits(from, first + i, bits_)], bits_ * times_);
    }
    for (; i < count; ++i) out.append_run(bit_at(from, first + i), times_);
  }

 private:
  std::size_t times_, bits_;
  std::array<std::uint64_t, 256> table_{};
};

}  // namespace

void Tiling::spread(const std::uint8_t* tile_bits, std::uint8_t* bits, unsigned threads) const {
  if (axes_.size() == 1) return spread_runs(tile_bits, bits);
  const std::size_t extent = last().extent;
  if (extent % 8 == 0) return spread_whole_bytes(tile_bits, bits, threads);
  std::vector<std::uint8_t> line(row_bytes(extent));
  std::memset(bits, 0, row_bytes(strides_[0] * axes_[0].extent));
  for (std::size_t b = 0; b < bands_; ++b) {
    line_of(b, tile_bits, line.data());
    const Band lines = band(b);
    for (std::size_t i = 0; i < lines.lines; ++i) {
      // What follows in the last byte may be written already, and is kept.
      const std::size_t start = lines.start(i), end = start + extent;
      const std::uint64_t after = end % 8 != 0 ? bits[end / 8] & ~low_bits(end % 8) : 0;
      BitWriter(bits, start).append(line.data(), 0, extent);
      if (after != 0) bits[end / 8] = static_cast<std::uint8_t>(bits[end / 8] | after);
    }
  }
}

// Lines that share no byte with others can be written in any order.
void Tiling::spread_whole_bytes(const std::uint8_t* tile_bits, std::uint8_t* bits,
                                unsigned threads) const {
  const std::size_t bytes = last().extent / 8, in_band = band(0).lines * bytes;
  for_chunks(bands_, in_band, 1, threads, [&](std::size_t first, std::size_t count) {
    std::vector<std::uint8_t> line(bytes);
    for (std::size_t b = first; b < first + count; ++b) {
      line_of(b, tile_bits, line.data());
      const Band lines = band(b);
      for (std::size_t i = 0; i < lines.lines; ++i) {
        std::memcpy(bits + lines.start(i) / 8, line.data(), bytes);
      }
    }
  });
}

// The mask of one line of a band, which all its lines share.
void Tiling::line_of(std::size_t band, const std::uint8_t* tile_bits, std::uint8_t* line) const {
  const std::size_t tiles = tiles_in_band();
  if (last().tile == 1) return BitWriter(line, 0).append(tile_bits, band * tiles, tiles);
  std::vector<std::uint8_t> own(row_bytes(tiles));
  BitWriter(own.data(), 0).append(tile_bits, band * tiles, tiles);
  Tiling({last()}).spread_runs(own.data(), line);
}

void Tiling::spread_runs(const std::uint8_t* tile_bits, std::uint8_t* bits) const {
  const TiledAxis& axis = last();
  BitWriter out(bits, 0);
  if (axis.tile == 1) return out.append(tile_bits, 0, axis.extent);
  const std::size_t whole = axis.extent / axis.tile;
  Repeated(axis.tile).append(tile_bits, 0, whole, out);
  if (whole < axis.tiles()) out.append_run(bit_at(tile_bits, whole), axis.extent % axis.tile);
}

TileNormsOf::TileNormsOf(const Kernels& kernels, const void* data, Dtype dtype,
                         const Tiling& tiling, Norm norm)
    : Population(Dtype::float64, tiling.bands() * tiling.tiles_in_band()),
      data_(static_cast<const std::uint8_t*>(data)),
      bytes_(width(dtype)),
      tile_norms_((*kernels.tile_norms)[dtype]),
      column_norms_((*kernels.column_norms)[dtype]),
      tiling_(tiling),
      norm_(norm) {}

const void* TileNormsOf::read(std::size_t first, std::size_t count, void* scratch) const {
  const DefaultFloatMode same_everywhere;
  auto* norms = static_cast<double*>(scratch);
  const std::size_t in_band = tiling_.tiles_in_band();
  for (std::size_t done = 0; done < count;) {
    const std::size_t tile = (first + done) % in_band;
    const std::size_t run = std::min(in_band - tile, count - done);
    norms_in_band(tiling_.band((first + done) / in_band), tile, run, norms + done);
    done += run;
  }
  return scratch;
}

void TileNormsOf::norms_in_band(const Tiling::Band& band, std::size_t first, std::size_t count,
                                double* norms) const {
  if (band.lines == 1) {
    norms_of_runs(band.start(0), first, count, norms);
  } else if (tiling_.last().tile == 1 && band.starts.empty()) {
    column_norms_(at(band.first + first), band.stride, band.lines, count, norm_, norms);
  } else {
    norms_of_copies(band, first, count, norms);
  }
}

void TileNormsOf::norms_of_runs(std::size_t start, std::size_t first, std::size_t count,
                                double* norms) const {
  const TiledAxis& axis = tiling_.last();
  const std::size_t whole = std::min(first + count, axis.extent / axis.tile) - first;
  tile_norms_(at(start + first * axis.tile), whole, axis.tile, norm_, norms);
  if (whole < count) {
    tile_norms_(at(start + (first + whole) * axis.tile), 1, axis.extent % axis.tile, norm_,
                norms + whole);
  }
}

// Tiles that are neither runs nor columns are copied together first.
void TileNormsOf::norms_of_copies(const Tiling::Band& band, std::size_t first, std::size_t count,
                                  double* norms) const {
  const TiledAxis& axis = tiling_.last();
  std::vector<std::uint8_t> tile(band.lines * axis.tile * bytes_);
  for (std::size_t t = 0; t < count; ++t) {
    const std::size_t begin = (first + t) * axis.tile;
    const std::size_t run = std::min(axis.tile, axis.extent - begin);
    std::uint8_t* to = tile.data();
    for (std::size_t line = 0; line < band.lines; ++line, to += run * bytes_) {
      std::memcpy(to, at(band.start(line) + begin), run * bytes_);
    }
    tile_norms_(tile.data(), 1, band.lines * run, norm_, norms + t);
  }
}

}  // namespace prunepack
