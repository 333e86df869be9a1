// smallest_mask for whole tensors: exact selection of the k smallest weights, by one pass over
// them.
//
// A sample gives a narrow range of keys that holds the threshold almost certainly. One pass keeps
// the weights above the range and lists those inside; the counts then prove where the threshold
// is, and the few listed weights decide the rest. If the counts show that the sample was wrong,
// what they say narrows the next attempt, so the result is exact whatever the sample.
#include <algorithm>
#include <span>
#include <vector>

#include "bits.h"
#include "chunks.h"
#include "flat_mask.h"
#include "order_statistics.h"
#include "prunepack/masks.h"
#include "sample.h"
#include "scratch.h"

namespace prunepack {
namespace {

// Up to here a population is one group for the nm_mask kernel, which looks at it many times, in
// cache. No less than what a sample takes (4,096 runs of 32 bytes), or its runs would not fit.
constexpr std::size_t kSmallBytes = 128 * 1024;

constexpr unsigned kAttemptsBySample = 4;

// What the bracket_mask kernel is given at once: as much as its positions can count.
constexpr std::size_t kStep = 64 * 1024;
constexpr std::size_t kSlackBytes = 64;

// The weights of one part inside the range, in order: their keys, and their positions counted from
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

// The selection of one population. `bits` is its own flat mask, starting on a byte.
template <class Bits>
class Selection {
 public:
  Selection(const Kernels& kernels, const std::uint8_t* data, Dtype dtype, std::size_t count,
            std::size_t pruned, std::uint8_t* bits, unsigned threads)
      : kernels_(kernels),
        data_(data),
        dtype_(dtype),
        count_(count),
        pruned_(pruned),
        kept_(count - pruned),
        bits_(bits),
        threads_(threads_worth(count * sizeof(Bits), threads)) {
    part_ = (count / threads_ / kStep + 1) * kStep;
    parts_ = (count + part_ - 1) / part_;
  }

  void run() {
    KeyRange possible{0, max_key(dtype_)};
    for (unsigned attempt = 0;; ++attempt) {
      const Guess guess = attempt < kAttemptsBySample
                              ? likely_range(data_, dtype_, count_, pruned_, possible, attempt)
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

  template <class Work>
  void for_parts(const Work& work) {
    parallel_for(parts_, threads_, [&](std::size_t part) {
      const std::size_t first = part * part_;
      work(part, first, std::min(part_, count_ - first));
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
    for_parts([&](std::size_t part, std::size_t first, std::size_t count) {
      tied_[part] = (*kernels_.tied_mask)[dtype_](data_ + first * sizeof(Bits), count, key,
                                                  bits_ + first / 8, tied_bits_.get() + first / 8);
    });
    return total(tied_);
  }

  // All tied weights look alike, so the first ones are pruned and the last ones kept.
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
    const KeyRange range = guess.range;
    const auto expected = static_cast<std::size_t>(1.1 * guess.part * static_cast<double>(part_));
    candidates_ = std::vector<Candidates<Bits>>(parts_);
    for (Candidates<Bits>& part : candidates_) part.reserve(expected + kStep);
    std::vector<Above> counts(parts_);
    for_parts([&](std::size_t part, std::size_t first, std::size_t count) {
      Candidates<Bits>& candidates = candidates_[part];
      for (std::size_t i = 0; i < count; i += kStep) {
        const std::size_t step = std::min(kStep, count - i);
        candidates.reserve(step);
        const Above found = (*kernels_.bracket_mask)[dtype_](
            data_ + (first + i) * sizeof(Bits), step, range.low, range.high,
            bits_ + (first + i) / 8, candidates.next_key(), candidates.next_position());
        candidates.added_step(found.tied);
        counts[part].above += found.above;
        counts[part].tied += found.tied;
      }
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
    for (std::size_t i = 0; i < step.keys.size(); ++i) {
      bool keep = step.keys[i] >= threshold;
      if (step.keys[i] == threshold && ties_to_prune > 0) {
        --ties_to_prune;
        keep = false;
      }
      const std::size_t position = step.positions[i];
      bits[position / 8] =
          static_cast<std::uint8_t>(bits[position / 8] | unsigned{keep} << position % 8);
    }
  }

  Bits key_of_rank(std::size_t rank, KeyRange range) const {
    typename OrderStatistics<Bits>::Lists lists;
    for (const Candidates<Bits>& part : candidates_) lists.push_back(part.keys());
    return OrderStatistics<Bits>(std::move(lists), static_cast<Bits>(range.low),
                                 static_cast<Bits>(range.high))
        .key_of_rank(rank);
  }

  const Kernels& kernels_;
  const std::uint8_t* data_;
  Dtype dtype_;
  std::size_t count_, pruned_, kept_;
  std::uint8_t* bits_;
  unsigned threads_;
  std::size_t part_, parts_;
  Scratch<std::uint8_t> tied_bits_;
  std::vector<Above> tied_;
  std::vector<Candidates<Bits>> candidates_;
};

void select(const Kernels& kernels, const std::uint8_t* data, Dtype dtype, std::size_t count,
            std::size_t pruned, std::uint8_t* bits, unsigned threads) {
  switch (width(dtype)) {
    case 1:
      return Selection<std::uint8_t>(kernels, data, dtype, count, pruned, bits, threads).run();
    case 2:
      return Selection<std::uint16_t>(kernels, data, dtype, count, pruned, bits, threads).run();
    case 4:
      return Selection<std::uint32_t>(kernels, data, dtype, count, pruned, bits, threads).run();
    default:
      return Selection<std::uint64_t>(kernels, data, dtype, count, pruned, bits, threads).run();
  }
}

void set_all(std::uint8_t* bits, std::size_t count, bool value) {
  BitWriter writer(bits, 0);
  for (std::size_t step; count > 0; count -= step) {
    step = std::min<std::size_t>(count, 56);
    writer.append(value ? (std::uint64_t{1} << step) - 1 : 0, step);
  }
}

}  // namespace

void smallest_mask(const Kernels& kernels, const Weights& weights, std::size_t populations,
                   std::size_t pruned, std::uint8_t* mask, unsigned threads) {
  if (weights.count() == 0) return;
  const std::size_t population = weights.count() / populations, bytes = width(weights.dtype);
  if (population * bytes <= kSmallBytes) {
    return nm_mask(kernels, weights, {populations, population, 1}, pruned, population, mask,
                   threads);
  }
  const auto* data = static_cast<const std::uint8_t*>(weights.data);
  FlatMask flat(mask, weights.rows, weights.columns);
  std::vector<std::uint8_t> own(row_bytes(population));  // where a population starts inside a byte
  for (std::size_t i = 0; i < populations; ++i) {
    const std::size_t first = i * population;
    std::uint8_t* bits = first % 8 == 0 ? flat.bits() + first / 8 : own.data();
    if (pruned == 0 || pruned == population) {
      set_all(bits, population, pruned == 0);
    } else {
      select(kernels, data + first * bytes, weights.dtype, population, pruned, bits, threads);
    }
    if (bits == own.data()) BitWriter(flat.bits(), first).append(own.data(), 0, population);
  }
  flat.finish();
}

}  // namespace prunepack
