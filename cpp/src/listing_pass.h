// One pass over a population that makes a mask of what is above a range of keys, and lists what is
// inside, to be decided afterwards.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "candidates.h"
#include "chunks.h"
#include "order_statistics.h"
#include "population.h"
#include "prunepack/kernels.h"
#include "sample.h"
#include "scratch.h"

namespace prunepack {

// What a kernel is given at once: small enough to stay in cache between being computed and being
// ranked, and few enough for bracket_mask's positions.
inline constexpr std::size_t kStep = 16 * 1024, kComputedStep = 4 * 1024;

inline std::size_t step_of(const Population& population) {
  return population.is_stored() ? kStep : kComputedStep;
}

// `bits` is a flat mask of the population's own.
template <class Bits>
class ListingPass {
 public:
  ListingPass(const Kernels& kernels, const Population& population, std::uint8_t* bits,
              unsigned threads)
      : kernels_(kernels),
        population_(population),
        bits_(bits),
        threads_(threads),
        step_(step_of(population)),
        part_(part_of(population.count())),
        parts_((population.count() + part_ - 1) / part_) {}

  // Calls work(first, count, numbers) for every step of [first, end), of which `first` begins one.
  template <class Work>
  void for_steps(std::size_t first, std::size_t end, const Work& work) const {
    for_parts(first, end, [&](std::size_t, auto... step) { work(step...); });
  }

  // Makes the mask and the lists. `probably` is the part of the population that is in the range.
  Above list(KeyRange range, double probably) {
    const auto expected = static_cast<std::size_t>(1.1 * probably * static_cast<double>(part_));
    candidates_ = std::vector<Candidates<Bits>>(parts_);
    for (Candidates<Bits>& list : candidates_) list.reserve(expected + step_);
    std::vector<Above> counts(parts_);
    for_parts(0, population_.count(),
              [&](std::size_t p, std::size_t first, std::size_t count, const void* numbers) {
                Candidates<Bits>& candidates = candidates_[p];
                candidates.reserve(count);
                const Above found = (*kernels_.bracket_mask)[population_.dtype()](
                    numbers, count, range.low, range.high, bits_ + first / 8, candidates.next_key(),
                    candidates.next_position());
                candidates.added_step(found.tied);
                counts[p].above += found.above;
                counts[p].tied += found.tied;
              });
    Above sum{0, 0};
    for (const Above& found : counts) {
      sum.above += found.above;
      sum.tied += found.tied;
    }
    return sum;
  }

  OrderStatistics<Bits> ranked() const {
    typename OrderStatistics<Bits>::Lists lists;
    for (const Candidates<Bits>& part : candidates_) lists.push_back(part.keys());
    return {kernels_, population_.dtype(), std::move(lists)};
  }

  // Keeps what is listed above `threshold`, and what equals it but the first `ties_to_prune`.
  void keep_from(Bits threshold, std::size_t ties_to_prune) {
    const OrderStatistics<Bits> ranks = ranked();
    std::vector<std::size_t> to_prune(parts_);
    for (std::size_t p = 0; ties_to_prune > 0 && p < parts_; ++p) {
      const auto keys = candidates_[p].keys();
      const std::size_t at_least =
          threshold > 0 ? ranks.count_above(keys, threshold - 1) : keys.size();
      to_prune[p] = std::min(ties_to_prune, at_least - ranks.count_above(keys, threshold));
      ties_to_prune -= to_prune[p];
    }
    parallel_for(parts_, threads_, [&](std::size_t p) {
      const Candidates<Bits>& part = candidates_[p];
      for (std::size_t step = 0; step < part.steps(); ++step) {
        keep_in_step(part.step(step), threshold, to_prune[p],
                     bits_ + (p * part_ + step * step_) / 8);
      }
    });
  }

  // Where what is listed has keys in a range.
  std::vector<std::size_t> positions_in(KeyRange range) const {
    std::vector<std::size_t> found;
    for (std::size_t p = 0; p < parts_; ++p) {
      for (std::size_t step = 0; step < candidates_[p].steps(); ++step) {
        const auto listed = candidates_[p].step(step);
        for (std::size_t i = 0; i < listed.keys.size(); ++i) {
          if (listed.keys[i] < range.low || listed.keys[i] > range.high) continue;
          found.push_back(p * part_ + step * step_ + listed.positions[i]);
        }
      }
    }
    return found;
  }

 private:
  // What one thread takes of so many.
  std::size_t part_of(std::size_t count) const {
    return (count / threads_worth(count * sizeof(Bits), threads_) / step_ + 1) * step_;
  }

  // Calls work(part, first, count, numbers) for every step of every part of [first, end), those of
  // a part in order.
  template <class Work>
  void for_parts(std::size_t first, std::size_t end, const Work& work) const {
    const std::size_t size = part_of(end - first);
    parallel_for((end - first + size - 1) / size, threads_, [&](std::size_t part) {
      Scratch<Bits> computed(population_.is_stored() ? 0 : step_);
      const std::size_t to = std::min(first + (part + 1) * size, end);
      for (std::size_t at = first + part * size; at < to; at += step_) {
        const std::size_t count = std::min(step_, to - at);
        work(part, at, count, population_.read_in_order(at, count, computed.get()));
      }
    });
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

  const Kernels& kernels_;
  const Population& population_;
  std::uint8_t* bits_;
  unsigned threads_;
  std::size_t step_, part_, parts_;
  std::vector<Candidates<Bits>> candidates_;
};

}  // namespace prunepack
