// A tensor cut into tiles: their norms, and the mask of the elements from the mask of the tiles.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "population.h"
#include "prunepack/masks.h"

namespace prunepack {

struct TiledAxis {
  std::size_t extent, tile;
  std::size_t tiles() const { return (extent + tile - 1) / tile; }
};

// The same tiles over as few axes as can be.
std::vector<TiledAxis> tiled_axes(std::span<const std::size_t> shape,
                                  std::span<const std::size_t> tile);

// The tensor is seen as bands, one for each tile index over all axes but the last. A band is made
// of lines, runs of elements along the last axis, and its tiles cut across all of them.
class Tiling {
 public:
  explicit Tiling(std::vector<TiledAxis> axes);

  std::size_t bands() const { return bands_; }
  std::size_t tiles_in_band() const { return last().tiles(); }
  const TiledAxis& last() const { return axes_.back(); }

  // The lines of a band, by the element each begins at: evenly spaced, unless several of the axes
  // before the last are cut into tiles.
  struct Band {
    std::size_t first, stride, lines;
    std::vector<std::size_t> starts;  // empty if evenly spaced

    std::size_t start(std::size_t line) const {
      return starts.empty() ? first + line * stride : starts[line];
    }
  };
  Band band(std::size_t index) const;

  // Writes the mask of all elements.
  void spread(const std::uint8_t* tile_bits, std::uint8_t* bits, unsigned threads) const;

 private:
  void spread_runs(const std::uint8_t* tile_bits, std::uint8_t* bits) const;
  void spread_whole_bytes(const std::uint8_t* tile_bits, std::uint8_t* bits,
                          unsigned threads) const;
  void line_of(std::size_t band, const std::uint8_t* tile_bits, std::uint8_t* line) const;

  std::vector<TiledAxis> axes_;
  std::vector<std::size_t> strides_;
  std::size_t bands_ = 1;
};

// The norms of the tiles, computed when they are looked at.
class TileNormsOf final : public Population {
 public:
  TileNormsOf(const Kernels& kernels, const void* data, Dtype dtype, const Tiling& tiling,
              Norm norm);
  bool is_stored() const override { return false; }
  const void* read(std::size_t first, std::size_t count, void* scratch) const override;

 private:
  void norms_in_band(const Tiling::Band& band, std::size_t first, std::size_t count,
                     double* norms) const;
  void norms_of_runs(std::size_t start, std::size_t first, std::size_t count, double* norms) const;
  void norms_of_copies(const Tiling::Band& band, std::size_t first, std::size_t count,
                       double* norms) const;
  const void* at(std::size_t element) const { return data_ + element * bytes_; }

  const std::uint8_t* data_;
  std::size_t bytes_;
  TileNorms tile_norms_;
  ColumnNorms column_norms_;
  const Tiling& tiling_;
  Norm norm_;
};

}  // namespace prunepack
