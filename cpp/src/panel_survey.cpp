#include "panel_survey.h"

#include <algorithm>
#include <bit>

#include "panel_rows.h"
#include "prunepack/threads.h"

namespace prunepack {
namespace {

std::size_t ones(std::uint64_t word) { return static_cast<std::size_t>(std::popcount(word)); }

// The most bits set in any of the aligned groups of a word.
template <std::size_t group>
std::size_t most_in_groups(std::uint64_t word) {
  std::size_t most = 0;
  for (; word != 0; word >>= group) {
    most = std::max(most, ones(word & ((std::uint64_t{1} << group) - 1)));
  }
  return most;
}

// How many aligned groups of `breadth` bits have a bit set.
std::size_t groups_with_bits(std::uint64_t word, std::size_t breadth) {
  for (std::size_t step = 1; step < breadth; step *= 2) word |= word >> step;
  constexpr std::uint64_t firsts[] = {~0ull, 0x5555555555555555, 0x1111111111111111,
                                      0x0101010101010101, 0x0001000100010001};
  return ones(word & firsts[std::countr_zero(breadth)]);
}

// What the words from `first` to `last` of the masks need.
PanelNeeds needs_of(const PanelMask& mask, std::size_t first, std::size_t last, std::size_t parts) {
  PanelNeeds needs;
  std::array<std::array<std::size_t, kPanelRows>, std::size(kBreadths)> slots{};  // of each band
  for (std::size_t i = first; i < last; ++i) {
    std::size_t low = 0, high = 0;  // of each half of the columns, what the fullest row has
    std::array<std::uint64_t, kPanelRows> words;
    for (std::size_t lane = 0; lane < kPanelRows; ++lane) {
      words[lane] = mask.word(lane, i);
      needs.elements += ones(words[lane]);
      low = std::max(low, ones(words[lane] & 0xffffffff));
      high = std::max(high, ones(words[lane] >> 32));
      if (needs.in_4 < 4) needs.in_4 = std::max(needs.in_4, most_in_groups<4>(words[lane]));
      if (needs.in_16 < 16) needs.in_16 = std::max(needs.in_16, most_in_groups<16>(words[lane]));
    }
    static_assert(kIndexBlocks * kBlockColumns == 32);
    needs.index_slots += low + high;
    for (std::size_t k = std::size(kBreadths); k-- > 0;) {  // bands of 1 row, then 2, 4, 8, 16
      const std::size_t breadth = kBreadths[k];
      for (std::size_t band = 0; band < breadth; ++band) {
        if (breadth < kPanelRows) words[band] = words[2 * band] | words[2 * band + 1];
        slots[k][band] += groups_with_bits(words[band], breadth);
      }
    }
  }
  for (std::size_t k = 0; k < std::size(kBreadths); ++k) {
    for (const std::size_t band : slots[k]) needs.block_slots[k] += round_up(band, parts);
  }
  return needs;
}

}  // namespace

void PanelNeeds::operator+=(const PanelNeeds& other) {
  elements += other.elements;
  index_slots += other.index_slots;
  in_4 = std::max(in_4, other.in_4);
  in_16 = std::max(in_16, other.in_16);
  for (std::size_t k = 0; k < block_slots.size(); ++k) block_slots[k] += other.block_slots[k];
}

PanelSurvey::PanelSurvey(const PackedMatrix& matrix, const Prepared& prepared, unsigned threads)
    : panel_count_(prepared.panel_count()), panels_(panel_count_ * prepared.stripe_count()) {
  parallel_for(panel_count_, threads, [&](std::size_t i) {
    PanelMask mask(matrix, prepared.blocks);
    mask.read(i);
    for (std::size_t stripe = 0; stripe < prepared.stripe_count(); ++stripe) {
      panels_[stripe * panel_count_ + i] =
          needs_of(mask, prepared.stripes[stripe] / kChunkBlocks,
                   prepared.stripes[stripe + 1] / kChunkBlocks, 4 / width(matrix.dtype));
    }
  });
  for (const PanelNeeds& panel : panels_) all_ += panel;
}

}  // namespace prunepack
