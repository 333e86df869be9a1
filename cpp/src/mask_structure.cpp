// mask_structure: counts groups and tiles of a mask.
//
// What is asked of every group of 4, 8, 16 ... bits of a line is computed for all groups of a
// 64-bit word at once, in loops that the compiler turns into vector instructions.
#include <algorithm>
#include <cstring>
#include <mutex>
#include <vector>

#include "chunks.h"
#include "prunepack/describe.h"
#include "prunepack/masks.h"

namespace prunepack {
namespace {

using Word = std::uint64_t;
using Words = std::vector<Word>;

// The lowest bit of every `bits` wide field.
constexpr Word each(unsigned bits) { return ~Word{0} / ((Word{1} << (bits - 1) << 1) - 1); }

std::size_t largest_byte(const Words& words) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(words.data());
  std::uint8_t largest = 0;
  for (std::size_t i = 0; i < words.size() * sizeof(Word); ++i) {
    largest = std::max(largest, bytes[i]);
  }
  return largest;
}

// Replaces two neighbouring fields of `bits` / 2 bits by their sum.
void add_neighbours(Words& words, unsigned bits) {
  const Word low = each(bits) * ((Word{1} << bits / 2) - 1);
  for (Word& word : words) word = (word & low) + (word >> bits / 2 & low);
}

// Has bit 0 of each field of `bits` bits set if it was set in one of the two fields that make it.
void join_neighbours(Words& words, unsigned bits, unsigned joined) {
  const Word low = each(bits);
  for (Word& word : words) {
    for (unsigned shift = joined; shift < bits; shift *= 2) word |= word >> shift;
    word &= low;
  }
}

// What some of the lines show.
class Counts {
 public:
  Counts(const Kernels& kernels, std::size_t width)
      : kernels_(kernels), width_(width), work_((row_bytes(width) + 7) / 8) {}

  void add_line(const Words& line) {
    add_groups(line);
    add_tiles(line, 0, 1);
    if (std::any_of(line.begin(), line.end(), [](Word word) { return word != 0; })) {
      found.live_lines += width_;
    }
  }

  // Tiles of the height kTileSides[height], whose `lines` lines are united in `line`.
  void add_tiles(const Words& line, std::size_t height, std::size_t lines) {
    work_ = line;
    unsigned joined = 1;
    for (std::size_t i = 0; i < kTileSides.size(); ++i) {
      const auto side = static_cast<unsigned>(kTileSides[i]);
      if (side > 1) join_neighbours(work_, side, joined);
      found.live[height][i] += lines * live_weights(side);
      joined = side;
    }
  }

  MaskStructure found;

 private:
  void add_groups(const Words& line) {
    found.kept += set_in(line);
    work_ = line;
    add_neighbours(work_, 2);
    Word any = 0;
    for (const Word word : work_) any |= word;
    most(0, (any & each(2) << 1) != 0 ? 2 : any != 0);
    add_neighbours(work_, 4);
    Words upper = work_;
    for (Word& word : upper) word = word >> 4 & 0xf * each(8);
    Words lower = work_;
    for (Word& word : lower) word &= 0xf * each(8);
    most(1, std::max(largest_byte(lower), largest_byte(upper)));
    for (std::size_t i = 2; i < kGroupSizes.size(); ++i) {
      add_neighbours(work_, static_cast<unsigned>(kGroupSizes[i]));
      most(i, largest_byte(work_));
    }
  }

  void most(std::size_t group, std::size_t kept) {
    found.most_kept[group] = std::max(found.most_kept[group], kept);
  }

  // Of the groups of `side` bits whose first one is set in work_.
  std::size_t live_weights(std::size_t side) const {
    const std::size_t rest = width_ % side, last = width_ - rest;
    const std::size_t live = side * set_in(work_);
    return rest > 0 && work_[last / 64] >> last % 64 & 1 ? live - (side - rest) : live;
  }

  std::size_t set_in(const Words& words) const {
    return kernels_.count_bits(reinterpret_cast<const std::uint8_t*>(words.data()),
                               words.size() * sizeof(Word));
  }

  const Kernels& kernels_;
  std::size_t width_;
  Words work_;
};

void unite(Words& into, const Words& other) {
  for (std::size_t i = 0; i < into.size(); ++i) into[i] |= other[i];
}

void add(MaskStructure& into, const MaskStructure& other) {
  into.kept += other.kept;
  into.live_lines += other.live_lines;
  for (std::size_t i = 0; i < kGroupSizes.size(); ++i) {
    into.most_kept[i] = std::max(into.most_kept[i], other.most_kept[i]);
  }
  for (std::size_t i = 0; i < kTileSides.size(); ++i) {
    for (std::size_t j = 0; j < kTileSides.size(); ++j) into.live[i][j] += other.live[i][j];
  }
}

// Goes through the mask in bands as high as the highest tile.
class Bands {
 public:
  static constexpr std::size_t kHeight = kTileSides.back();

  Bands(const std::uint8_t* mask, std::size_t height, std::size_t depth, std::size_t width)
      : mask_(mask), height_(height), depth_(depth), bytes_(row_bytes(width)) {}

  std::size_t count() const { return (height_ + kHeight - 1) / kHeight; }

  // Adds the band to `counts`, and what is kept at any of its heights to `columns`.
  void add(std::size_t band, Counts& counts, std::uint8_t* columns) const {
    const std::size_t first = band * kHeight, lines = std::min(kHeight, height_ - first);
    const Words nothing((bytes_ + 7) / 8);
    std::vector<Words> united(kTileSides.size(), nothing);  // lines of the tiles not yet complete
    for (std::size_t at = 0; at < depth_; ++at) {
      for (std::size_t line = 0; line < lines; ++line) {
        united[0] = nothing;
        std::memcpy(united[0].data(), mask_ + ((first + line) * depth_ + at) * bytes_, bytes_);
        counts.add_line(united[0]);
        for (std::size_t i = 1; i < kTileSides.size(); ++i) {
          unite(united[i], united[i - 1]);
          const std::size_t here = line % kTileSides[i] + 1;
          if (here < kTileSides[i] && line + 1 < lines) break;
          counts.add_tiles(united[i], i, here);
          if (i + 1 < kTileSides.size()) continue;
          for (std::size_t b = 0; b < bytes_; ++b) {
            columns[at * bytes_ + b] |= reinterpret_cast<const std::uint8_t*>(united[i].data())[b];
          }
        }
        for (std::size_t i = 1; i < kTileSides.size() && (line + 1) % kTileSides[i] == 0; ++i) {
          united[i] = nothing;
        }
      }
      for (Words& words : united) words = nothing;
    }
  }

 private:
  const std::uint8_t* mask_;
  std::size_t height_, depth_, bytes_;
};

}  // namespace

MaskStructure mask_structure(const Kernels& kernels, const std::uint8_t* mask, std::size_t height,
                             std::size_t depth, std::size_t width, std::uint8_t* columns,
                             unsigned threads) {
  const Bands bands(mask, height, depth, width);
  const std::size_t column_bytes = depth * row_bytes(width);
  if (column_bytes == 0) return {};  // however many lines of nothing
  std::fill_n(columns, column_bytes, std::uint8_t{0});
  const std::size_t tasks =
      std::min<std::size_t>(threads_worth(height * column_bytes, threads), bands.count());
  MaskStructure all;
  std::mutex adding;
  parallel_for(tasks, threads, [&](std::size_t task) {
    Counts counts(kernels, width);
    std::vector<std::uint8_t> own(column_bytes);
    const std::size_t end = bands.count() * (task + 1) / tasks;
    for (std::size_t band = bands.count() * task / tasks; band < end; ++band) {
      bands.add(band, counts, own.data());
    }
    const std::lock_guard lock(adding);
    add(all, counts.found);
    for (std::size_t i = 0; i < column_bytes; ++i) columns[i] |= own[i];
  });
  return all;
}

}  // namespace prunepack
