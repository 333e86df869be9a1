// Exact selection by one pass over the population.
//
// A sample says where the cut probably is, and one pass makes a mask that is right but for what is
// near there. If many weights share the key of the cut, all that comes after the guessed cut is
// kept, by key and then by position, where the position becomes ever more certain during the pass;
// then the cut is moved, step by step, until the count is right.
// If few do, the pass lists the weights in a narrow range of keys, and the listed few are decided
// at the end. When the counts show that the sample was wrong, the next attempt starts from what
// they say, so the result is exact whatever the sample.
#include "select.h"

#include <algorithm>
#include <array>
#include <atomic>

#include "bits.h"
#include "listing_pass.h"
#include "prunepack/masks.h"
#include "sample.h"
#include "scratch.h"

namespace prunepack {
namespace {

constexpr unsigned kAttemptsBySample = 4;

// The part of what is left that is looked at before the sample is asked again.
constexpr std::size_t kPiecesLeft = 8;

// A place in the order of all weights, by key and then by position, which begins a step.
struct Cut {
  std::uint64_t key;
  std::size_t position;
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
        kept_(count_ - pruned),
        bits_(bits),
        step_(step_of(population)),
        pass_(kernels, population, bits, threads) {}

  void run() {
    KeyRange possible{0, max_key(dtype_)};
    for (unsigned attempt = 0;; ++attempt) {
      const Guess guess = attempt < kAttemptsBySample
                              ? likely_cut(kernels_, population_, count_ - kept_, possible, attempt)
                              : middle(possible);
      if (guess.has_many_ties ? cut_among_ties(guess) : cut_in_list(guess)) return;
      if (now_kept_ > kept_) {
        possible.low = cut_.key;
      } else {
        possible.high = cut_.key - 1;
      }
    }
  }

 private:
  // Halves what is possible with every pass, so the search ends.
  Guess middle(KeyRange possible) const {
    const std::uint64_t key = possible.low + (possible.high - possible.low) / 2;
    return {{key, key}, {key, key}, 0, key, {}, true};
  }

  std::size_t keep_above(const void* numbers, std::size_t count, std::uint64_t key,
                         std::uint8_t* bits) const {
    return (*kernels_.above_mask)[dtype_](numbers, count, key, bits);
  }

  std::size_t keep_at_least(const void* numbers, std::size_t count, std::uint64_t key,
                            std::uint8_t* bits) const {
    if (key > 0) return keep_above(numbers, count, key - 1, bits);
    BitWriter(bits, 0).append_run(true, count);
    return count;
  }

  bool cut_among_ties(const Guess& guess) {
    const bool borders_on_it =
        cut_.position == 0 && (cut_.key == guess.key || cut_.key == guess.key + 1);
    if (!borders_on_it) keep_from_both_ends(guess.key, guess.outline);
    return move_cut(guess.range);
  }

  // Moves the cut to where it belongs, if that is in `range`; else to an end of it, at position 0.
  bool move_cut(KeyRange range) {
    Scratch<Bits> computed(population_.is_stored() ? 0 : step_);
    while (now_kept_ > kept_) {
      if (cut_.position >= count_) cut_ = {cut_.key + 1, 0};
      if (cut_.key > range.high) return false;
      prune_ties_in_step(cut_.position, computed.get());
      cut_.position += step_;
    }
    while (now_kept_ < kept_) {
      if (cut_.position == 0) {
        if (cut_.key <= range.low) return false;
        cut_ = {cut_.key - 1, (count_ + step_ - 1) / step_ * step_};
      }
      cut_.position -= step_;
      keep_ties_in_step(cut_.position, computed.get());
    }
    return true;
  }

  // Cuts at `key`, and among those that have it where the count is probably right. Of what was not
  // yet looked at, the end that is further from there is looked at next: so less and less is
  // estimated, and the two ends meet very close to the right place.
  void keep_from_both_ends(std::uint64_t key, const Outline& outline) {
    std::size_t first = 0, end = count_;
    double expected = 0;  // to be kept, of what was looked at
    now_kept_ = 0;
    while (first < end) {
      const auto kept = static_cast<double>(now_kept_);
      const double by_sample = expected > 0 ? kept / expected : 1;
      const double missing = (static_cast<double>(kept_) - kept) / by_sample;
      const std::size_t place =
          outline.with_tied_after(missing - outline.above_between(first, end), first, end);
      const std::size_t some =
          std::max((end - first) / kPiecesLeft / step_, std::size_t{1}) * step_;
      if (place - first > end - place) {
        const std::size_t next = std::min(first + some, end);
        now_kept_ += keep_in(first, next, key, &Selection::keep_above);
        expected += outline.above_between(first, next);
        first = next;
      } else {
        const std::size_t next = std::max((end + step_ - 1) / step_ * step_, first + some) - some;
        now_kept_ += keep_in(next, end, key, &Selection::keep_at_least);
        expected += outline.above_between(next, end) + outline.tied_between(next, end);
        end = next;
      }
    }
    cut_ = {key, (first + step_ - 1) / step_ * step_};
  }

  using Keep = std::size_t (Selection::*)(const void* numbers, std::size_t count, std::uint64_t key,
                                          std::uint8_t* bits) const;

  std::size_t keep_in(std::size_t first, std::size_t end, std::uint64_t key, Keep keep) const {
    std::atomic<std::size_t> kept = 0;
    pass_.for_steps(first, end, [&](std::size_t at, std::size_t count, const void* numbers) {
      kept += (this->*keep)(numbers, count, key, bits_ + at / 8);
    });
    return kept;
  }

  // The two ways to move the cut over a step, or no further into it than makes the count right.
  void prune_ties_in_step(std::size_t first, Bits* computed) {
    StepTies ties(*this, first, computed);
    const std::size_t pruned = std::min(ties.count(), now_kept_ - kept_);
    ties.keep_after_first(pruned);
    now_kept_ -= pruned;
  }
  void keep_ties_in_step(std::size_t first, Bits* computed) {
    StepTies ties(*this, first, computed);
    const std::size_t kept = std::min(ties.count(), kept_ - now_kept_);
    ties.keep_after_first(ties.count() - kept);
    now_kept_ += kept;
  }

  // The weights of a step that are tied with the cut: none of them is kept until said so.
  class StepTies {
   public:
    StepTies(const Selection& selection, std::size_t first, Bits* computed)
        : bits_(selection.bits_ + first / 8) {
      const std::size_t count = std::min(selection.step_, selection.count_ - first);
      const void* numbers = selection.population_.read(first, count, computed);
      const std::uint64_t key = selection.cut_.key;
      bytes_ = row_bytes(count);
      const std::size_t at_least = selection.keep_at_least(numbers, count, key, at_least_.data());
      count_ = at_least - selection.keep_above(numbers, count, key, bits_);
    }
    std::size_t count() const { return count_; }

    void keep_after_first(std::size_t pruned) {
      if (pruned == count_) return;
      std::size_t i = 0;
      for (; pruned > 0; ++i) {
        auto tied = static_cast<unsigned>(at_least_[i] ^ bits_[i]);
        for (; pruned > 0 && tied != 0; --pruned) tied &= tied - 1;
        bits_[i] = static_cast<std::uint8_t>(bits_[i] | tied);
      }
      std::copy(at_least_.begin() + static_cast<std::ptrdiff_t>(i),
                at_least_.begin() + static_cast<std::ptrdiff_t>(bytes_), bits_ + i);
    }

   private:
    std::uint8_t* bits_;
    std::size_t bytes_, count_;
    std::array<std::uint8_t, kStep / 8> at_least_;
  };

  // Cuts among what is listed; or, if the cut is not there, from an end of that on.
  bool cut_in_list(const Guess& guess) {
    const KeyRange listed = guess.listed;
    const Above found = pass_.list(listed, guess.part);
    if (found.above <= kept_ && found.above + found.tied >= kept_) {
      keep_largest_candidates(found.above + found.tied - kept_, listed);
      return true;
    }
    if (found.above > kept_) {
      cut_ = {listed.high + 1, 0};
      now_kept_ = found.above;
    } else {
      pass_.keep_from(static_cast<Bits>(listed.low), 0);
      cut_ = {listed.low, 0};
      now_kept_ = found.above + found.tied;
    }
    return move_cut(guess.range);
  }

  // All candidates but the `pruned` that come first.
  void keep_largest_candidates(std::size_t pruned, KeyRange range) {
    const OrderStatistics<Bits> ranked = pass_.ranked();
    if (pruned == ranked.count()) return;
    const std::uint64_t threshold = ranked.key_of_rank(pruned, range.low, range.high);
    const std::size_t at_least = threshold > 0 ? ranked.count_above(threshold - 1) : ranked.count();
    pass_.keep_from(static_cast<Bits>(threshold), pruned - (ranked.count() - at_least));
  }

  const Kernels& kernels_;
  const Population& population_;
  Dtype dtype_;
  std::size_t count_, kept_;
  std::uint8_t* bits_;
  std::size_t step_;
  ListingPass<Bits> pass_;

  // What the mask keeps now: all that comes after this cut, and how many that is. At first nothing
  // is written, and no cut borders on this one.
  Cut cut_{~std::uint64_t{0}, 1};
  std::size_t now_kept_ = 0;
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
