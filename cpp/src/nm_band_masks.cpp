#include "nm_band_masks.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "prunepack/masks.h"

namespace prunepack {
namespace {

// Bands that are small enough for nm_bands.
class SmallBands : public BandMasks {
 public:
  SmallBands(NmBands kernel, std::size_t inner) : kernel_(kernel), inner_(inner) {}

  void append(const std::uint8_t* weights, std::size_t bands, std::size_t rows, std::size_t pruned,
              BitWriter& out) override {
    bits_.resize(row_bytes(bands * rows * inner_));
    kernel_(weights, bands, inner_, pruned, rows, bits_.data());
    out.append(bits_.data(), 0, bands * rows * inner_);
  }

 private:
  NmBands kernel_;
  std::size_t inner_;
  std::vector<std::uint8_t> bits_;
};

// Others are set side by side first where their rows are short, so that nm_columns has long ones.
class BandsSideBySide : public BandMasks {
 public:
  BandsSideBySide(NmColumns kernel, std::size_t element_bytes, std::size_t inner,
                  std::size_t most_rows)
      : kernel_(kernel),
        element_bytes_(element_bytes),
        inner_(inner),
        at_once_(std::max<std::size_t>(kBytesAtOnce / (most_rows * inner * element_bytes), 1)),
        mask_stride_(row_bytes(at_once_ * inner) + sizeof(std::uint64_t)),
        block_(at_once_ == 1 ? 0 : at_once_ * most_rows * inner * element_bytes + kSlack),
        rows_(most_rows * mask_stride_),
        bits_(row_bytes(at_once_ * most_rows * inner) + sizeof(std::uint64_t)) {}

  void append(const std::uint8_t* weights, std::size_t bands, std::size_t rows, std::size_t pruned,
              BitWriter& out) override {
    const std::size_t band_bytes = rows * inner_ * element_bytes_;
    for (std::size_t band = 0; band < bands; band += at_once_) {
      append_some(weights + band * band_bytes, std::min(at_once_, bands - band), rows, pruned, out);
    }
  }

 private:
  static constexpr std::size_t kBytesAtOnce = 16 * 1024, kSlack = 16;

  void append_some(const std::uint8_t* weights, std::size_t bands, std::size_t rows,
                   std::size_t pruned, BitWriter& out) {
    const std::size_t columns = bands * inner_;
    if (bands > 1) set_side_by_side(weights, bands, rows);
    kernel_(bands > 1 ? block_.data() : weights, columns, columns, pruned, rows, rows_.data(),
            mask_stride_);
    if (inner_ <= kShort) {
      join_short_rows(bands, rows);
      out.append(bits_.data(), 0, rows * columns);
    } else {
      for (std::size_t band = 0; band < bands; ++band) {
        for (std::size_t row = 0; row < rows; ++row) {
          out.append(rows_.data() + row * mask_stride_, band * inner_, inner_);
        }
      }
    }
  }

  // Row by row, so that what a copy writes too much is written again.
  void set_side_by_side(const std::uint8_t* weights, std::size_t bands, std::size_t rows) {
    const std::size_t bytes = inner_ * element_bytes_;
    const std::size_t copied = (bytes + kSlack - 1) / kSlack * kSlack;
    const std::uint8_t* const end = weights + bands * rows * bytes;
    std::uint8_t* to = block_.data();
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t band = 0; band < bands; ++band, to += bytes) {
        const std::uint8_t* const from = weights + (band * rows + row) * bytes;
        if (static_cast<std::size_t>(end - from) < copied) {
          std::memcpy(to, from, bytes);
        } else {
          for (std::size_t i = 0; i < bytes; i += kSlack) std::memcpy(to + i, from + i, kSlack);
        }
      }
    }
  }

  // Rows of so few bits fit a word at any place in a byte.
  static constexpr std::size_t kShort = 56;

  void join_short_rows(std::size_t bands, std::size_t rows) {
    std::uint8_t* to = bits_.data();
    std::uint64_t held = 0;
    std::size_t used = 0;  // bits of `held`, fewer than 8
    for (std::size_t column = 0; column < bands * inner_; column += inner_) {
      const std::uint8_t* from = rows_.data() + column / 8;
      for (std::size_t row = 0; row < rows; ++row, from += mask_stride_) {
        std::uint64_t word;
        std::memcpy(&word, from, sizeof word);
        held |= (word >> column % 8 & low_bits(inner_)) << used;
        std::memcpy(to, &held, sizeof held);
        used += inner_;
        to += used / 8;
        held >>= used / 8 * 8;
        used %= 8;
      }
    }
  }

  NmColumns kernel_;
  std::size_t element_bytes_, inner_, at_once_, mask_stride_;
  std::vector<std::uint8_t> block_, rows_, bits_;
};

}  // namespace

std::unique_ptr<BandMasks> band_masks(const Kernels& kernels, Dtype dtype, std::size_t inner,
                                      std::size_t most_rows) {
  if (most_rows <= kTallestBand && inner <= kWidestBand) {
    return std::make_unique<SmallBands>((*kernels.nm_bands)[dtype], inner);
  }
  return std::make_unique<BandsSideBySide>((*kernels.nm_columns)[dtype], width(dtype), inner,
                                           most_rows);
}

}  // namespace prunepack
