// Exact selection by one pass over the population.
//
// A sample gives a narrow range of keys that holds the threshold almost certainly. One pass keeps
// what is above the range and lists what is inside; the counts then prove where the threshold is,
// and the few listed numbers decide the rest. If the counts show that the sample was wrong, what
// they say narrows the next attempt, so the result is exact whatever the sample.
#include "select.h"

#include <algorithm>
#include <span>
#include <vector>

#include "bits.h"
#include "chunks.h"
#include "order_statistics.h"
#include "prunepack/masks.h"
#include "sample.h"
#include "scratch.h"

namespace prunepack {
namespace {

constexpr unsigned kAttemptsBySample = 4;

// What a kernel is given at once: small enough to stay in cache between being computed and being
// ranked, and few enough for bracket_mask's positions.
constexpr std::size_t kStep = 16 * 1024;
constexpr std::size_t kSlackBytes = 64;

// What one part has inside the range, in order: their keys, and their positions counted from
// the start of their step. Grows without initialising.
template <class Bits>
class Candidates {
 public:
  void reserve(std::size_t more) {
    const std::size_t wanted = count_ + more;
    if (wanted <= capacity_) return;
    capacity_ = std::max(wanted, 2 * capacity_);
    grow(keys_);
    grow(positions_);
  }
  Bits* next_key() { return keys_.get() + count_; }
  std::uint16_t* next_position() { return positions_.get() + count_; }
  void added_step(std::size_t more) {
    count_ += more;
    steps_.push_back(count_);
  }

  struct Step {
    std::span<const Bits> keys;
    std::span<const std::uint16_t> positions;
  };
  std::size_t steps() const { return steps_.size(); }
  Step step(std::size_t i) const {
    const std::size_t begin = i == 0 ? 0 : steps_[i - 1], end = steps_[i];
    return {{keys_.get() + begin, end - begin}, {positions_.get() + begin, end - begin}};
  }
  std::span<const Bits> keys() const { return {keys_.get(), count_}; }

 private:
  template <class Item>
  void grow(Scratch<Item>& list) const {
    Scratch<Item> larger(capacity_ + kSlackBytes / sizeof(Item));
    if (count_ > 0) std::copy_n(list.get(), count_, larger.get());
    list = std::move(larger);
  }

  Scratch<Bits> keys_;
  Scratch<std::uint16_t> positions_;
  std::vector<std::size_t> steps_;  // where each step's candidates end
  std::size_t count_ = 0, capacity_ = 0;
};

// One selection. `bits` is a flat mask of the population's own.
template <class Bits>
class Selection {
 public:
  Selection(const Kernels& kernels, const Population& population, std::size_t pruned,
            std::uint8_t* bits, unsigned threads)
      : kernels_(kernels),
        population_(population),
        dtype_(population.dtype()),
        count_(population.count()),
        pruned_(pruned),
        kept_(count_ - pruned),
        bits_(bits),
        threads_(threads_worth(count_ * sizeof(Bits), threads)) {
    part_ = (count_ / threads_ / kStep + 1) * kStep;
    parts_ = (count_ + part_ - 1) / part_;
  }

  void run() {
    KeyRange possible{0, max_key(dtype_)};
    for (unsigned attempt = 0;; ++attempt) {
      const Guess guess = attempt < kAttemptsBySample
                              ? likely_range(population_, pruned_, possible, attempt)
                              : middle(possible);
      const KeyRange range = guess.range;
      const Above found =
          range.low == range.high ? pass_over_ties(range.low) : pass_over_range(guess);
      if (found.above > kept_) {
        possible.low = range.high + 1;
      } else if (found.above + found.tied < kept_) {
        possible.high = range.low - 1;
      } else {
        return range.low == range.high ? keep_last_ties(found)
                                       : keep_largest_candidates(found, range);
      }
    }
  }

 private:
  // Halves what is possible with every pass, so the search ends.
  static Guess middle(KeyRange possible) {
    const std::uint64_t key = possible.low + (possible.high - possible.low) / 2;
    return {{key, key}, 0};
  }

  // Calls work(part, first, count, numbers) for every step of every part, those of a part in order.
  template <class Work>
  void for_steps(const Work& work) {
    parallel_for(parts_, threads_, [&](std::size_t part) {
      Scratch<Bits> computed(population_.is_stored() ? 0 : kStep);
      const std::size_t end = std::min((part + 1) * part_, count_);
      for (std::size_t first = part * part_; first < end; first += kStep) {
        const std::size_t count = std::min(kStep, end - first);
        work(part, first, count, population_.read(first, count, computed.get()));
      }
    });
  }

  Above total(const std::vector<Above>& counts) const {
    Above sum{0, 0};
    for (const Above& part : counts) {
      sum.above += part.above;
      sum.tied += part.tied;
    }
    return sum;
  }

  Above pass_over_ties(std::uint64_t key) {
    if (tied_bits_.get() == nullptr) tied_bits_ = Scratch<std::uint8_t>(row_bytes(count_));
    tied_.assign(parts_, {});
    for_steps([&](std::size_t part, std::size_t first, std::size_t count, const void* numbers) {
      const Above found = (*kernels_.tied_mask)[dtype_](numbers, count, key, bits_ + first / 8,
                                                        tied_bits_.get() + first / 8);
      tied_[part].above += found.above;
      tied_[part].tied += found.tied;
    });
    return total(tied_);
  }

  // All that is tied looks alike, so the first ones are pruned and the last ones kept.
  void keep_last_ties(Above found) {
    std::size_t to_prune = found.above + found.tied - kept_;
    for (std::size_t part = 0; part < parts_; ++part) {
      const std::size_t pruned = std::min(to_prune, tied_[part].tied);
      const std::size_t first = part * part_ / 8;
      const std::size_t end = std::min(first + part_ / 8, row_bytes(count_));
      const std::size_t kept_from = clear_first_bits(pruned, first, end);
      merge(bits_ + kept_from, tied_bits_.get() + kept_from, end - kept_from);
      to_prune -= pruned;
    }
  }

  // Clears the first `pruned` tied bits of bytes [first, end); returns the byte where others begin.
  std::size_t clear_first_bits(std::size_t pruned, std::size_t first, std::size_t end) {
    constexpr std::size_t kBlock = 4096;
    std::size_t at = first;
    for (; pruned > 0; at += kBlock) {
      const std::size_t set =
          kernels_.count_bits(tied_bits_.get() + at, std::min(kBlock, end - at));
      if (set > pruned) break;
      pruned -= set;
    }
    for (; pruned > 0; ++at) {
      std::uint8_t& byte = tied_bits_[at];
      for (; pruned > 0 && byte != 0; --pruned) byte = static_cast<std::uint8_t>(byte & (byte - 1));
      if (byte != 0) break;
    }
    return std::min(at, end);
  }

  static void merge(std::uint8_t* __restrict into, const std::uint8_t* __restrict other,
                    std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) into[i] |= other[i];
  }

  Above pass_over_range(const Guess& guess) {
    const auto expected = static_cast<std::size_t>(1.1 * guess.part * static_cast<double>(part_));
    candidates_ = std::vector<Candidates<Bits>>(parts_);
    for (Candidates<Bits>& part : candidates_) part.reserve(expected + kStep);
    std::vector<Above> counts(parts_);
    for_steps([&](std::size_t part, std::size_t first, std::size_t count, const void* numbers) {
      Candidates<Bits>& candidates = candidates_[part];
      candidates.reserve(count);
      const Above found = (*kernels_.bracket_mask)[dtype_](
          numbers, count, guess.range.low, guess.range.high, bits_ + first / 8,
          candidates.next_key(), candidates.next_position());
      candidates.added_step(found.tied);
      counts[part].above += found.above;
      counts[part].tied += found.tied;
    });
    return total(counts);
  }

  // The largest candidates fill up what is kept; of those that share the smallest kept key, the
  // first ones are pruned.
  void keep_largest_candidates(Above found, KeyRange range) {
    const std::size_t pruned = found.above + found.tied - kept_;
    if (pruned == found.tied) return;
    const Bits threshold = key_of_rank(pruned, range);
    std::size_t ties_to_prune = pruned;
    for (const Candidates<Bits>& part : candidates_) {
      const auto keys = part.keys();
      ties_to_prune -= static_cast<std::size_t>(
          std::count_if(keys.begin(), keys.end(), [&](Bits key) { return key < threshold; }));
    }
    for (std::size_t p = 0; p < parts_; ++p) {
      const Candidates<Bits>& part = candidates_[p];
      for (std::size_t step = 0; step < part.steps(); ++step) {
        keep_in_step(part.step(step), threshold, ties_to_prune,
                     bits_ + (p * part_ + step * kStep) / 8);
      }
    }
  }

  static void keep_in_step(const typename Candidates<Bits>::Step& step, Bits threshold,
                           std::size_t& ties_to_prune, std::uint8_t* bits) {
    std::size_t to_prune = ties_to_prune;
    for (std::size_t i = 0; i < step.keys.size(); ++i) {
      const Bits key = step.keys[i];
      // No branch: nobody can predict which of the candidates are kept.
      const std::size_t pruned_tie = std::size_t{key == threshold} & std::size_t{to_prune > 0};
      to_prune -= pruned_tie;
      const unsigned keep = unsigned{key >= threshold} & ~static_cast<unsigned>(pruned_tie);
      const std::size_t position = step.positions[i];
      bits[position / 8] = static_cast<std::uint8_t>(bits[position / 8] | keep << position % 8);
    }
    ties_to_prune = to_prune;
  }

  Bits key_of_rank(std::size_t rank, KeyRange range) const {
    typename OrderStatistics<Bits>::Lists lists;
    for (const Candidates<Bits>& part : candidates_) lists.push_back(part.keys());
    return OrderStatistics<Bits>(std::move(lists), static_cast<Bits>(range.low),
                                 static_cast<Bits>(range.high))
        .key_of_rank(rank);
  }

  const Kernels& kernels_;
  const Population& population_;
  Dtype dtype_;
  std::size_t count_, pruned_, kept_;
  std::uint8_t* bits_;
  unsigned threads_;
  std::size_t part_, parts_;
  Scratch<std::uint8_t> tied_bits_;
  std::vector<Above> tied_;
  std::vector<Candidates<Bits>> candidates_;
};

void select_small(const Kernels& kernels, const Population& population, std::size_t pruned,
                  std::uint8_t* bits) {
  const std::size_t count = population.count();
  Scratch<std::uint64_t> computed(population.is_stored() ? 0 : count);
  (*kernels.nm_mask)[population.dtype()](population.read(0, count, computed.get()), 1, pruned,
                                         count, bits);
}

}  // namespace

void select(const Kernels& kernels, const Population& population, std::size_t pruned,
            std::uint8_t* bits, unsigned threads) {
  const std::size_t count = population.count(), bytes = width(population.dtype());
  if (pruned == 0 || pruned == count) return BitWriter(bits, 0).append_run(pruned == 0, count);
  if (count * bytes <= kSmallBytes) return select_small(kernels, population, pruned, bits);
  switch (bytes) {
    case 1:
      return Selection<std::uint8_t>(kernels, population, pruned, bits, threads).run();
    case 2:
      return Selection<std::uint16_t>(kernels, population, pruned, bits, threads).run();
    case 4:
      return Selection<std::uint32_t>(kernels, population, pruned, bits, threads).run();
    default:
      return Selection<std::uint64_t>(kernels, population, pruned, bits, threads).run();
  }
}

}  // namespace prunepack
