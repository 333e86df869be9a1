// Small groups are the kernels' own business. In large ones all but a few weights are plainly above
// or plainly below the cut: one pass counts what is above a narrow range of keys and lists what is
// inside, the cut is searched in the list, and a second pass, still in cache, writes the mask.
//
// Neighbours are alike, so the range is put around the cuts of the groups before; where they are
// not, around that of a sample. The counts prove the cut; where they do not, the kernel searches.
#include "nm_groups.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "bits.h"
#include "candidates.h"
#include "prunepack/masks.h"
#include "sample.h"
#include "scratch.h"

namespace prunepack {
namespace {

class ByKernel final : public NmGroups {
 public:
  ByKernel(NmMask kernel, NmPattern pattern) : kernel_(kernel), pattern_(pattern) {}

  void write(const std::uint8_t* weights, std::size_t groups, std::uint8_t* bits) override {
    kernel_(weights, groups, pattern_.n, pattern_.m, bits);
  }

 private:
  NmMask kernel_;
  NmPattern pattern_;
};

// A number that is to be foretold from those before it: their running mean and mean deviation (V.
// Jacobson, "Congestion avoidance and control", SIGCOMM 1988, appendix A).
class Forecast {
 public:
  void begin(double mean, double deviation) {
    mean_ = mean;
    deviation_ = deviation;
  }
  void saw(double number) {
    const double error = number - mean_;
    mean_ += error / 8;
    deviation_ += (std::abs(error) - deviation_) / 8;
  }
  double mean() const { return mean_; }
  // Of a bell curve's numbers, one in forty is further away than three mean deviations.
  double reach() const { return 3 * deviation_; }

 private:
  double mean_ = 0, deviation_ = 0;
};

// Fewer weights are not worth the passes, and of more bracket_mask could not say where they are.
template <class Bits>
class ByBracket final : public NmGroups {
 public:
  ByBracket(const Kernels& kernels, Dtype dtype, NmPattern pattern)
      : above_mask_((*kernels.above_mask)[dtype]),
        bracket_mask_((*kernels.bracket_mask)[dtype]),
        nm_mask_((*kernels.nm_mask)[dtype]),
        max_key_(max_key(dtype)),
        m_(pattern.m),
        kept_(pattern.m - pattern.n),
        sampled_(std::clamp<std::size_t>(m_ / 8 / kRun * kRun, kRun, 256)),
        sample_(sampled_),
        keys_(m_ + kSlackBytes),
        positions_(m_ + kSlackBytes),
        own_bits_(row_bytes(m_)),
        at_least_(row_bytes(m_)) {}

  void write(const std::uint8_t* weights, std::size_t groups, std::uint8_t* bits) override {
    const auto* group = reinterpret_cast<const Bits*>(weights);
    if (m_ % 8 == 0) {
      for (std::size_t g = 0; g < groups; ++g) write_one(group + g * m_, bits + g * m_ / 8);
      return;
    }
    BitWriter out(bits, 0);
    for (std::size_t g = 0; g < groups; ++g) {
      write_one(group + g * m_, own_bits_.get());
      out.append(own_bits_.get(), 0, m_);
    }
  }

 private:
  static constexpr std::size_t kRun = 16;  // neighbours in a sample
  // A forecast is of use if less than this part of the group is then listed.
  static constexpr double kUsefulPart = 1.0 / 6;

  // The keys of some weights, of which `kept` are above the cut.
  struct Listed {
    const Bits* keys;
    std::size_t count, kept;
  };

  void write_one(const Bits* group, std::uint8_t* bits) {
    if (is_foreseen_ && cut_within(group, foreseen(), bits)) return;
    const KeyRange range = range_of_sample(group);
    forecast_.begin(static_cast<double>(range.low / 2 + range.high / 2),
                    static_cast<double>(range.high - range.low) / 16);
    if (!cut_within(group, range, bits)) {
      nm_mask_(group, 1, m_ - kept_, m_, bits);
      is_foreseen_ = false;
    }
  }

  KeyRange foreseen() const {
    const double most = static_cast<double>(max_key_), mean = forecast_.mean(),
                 reach = forecast_.reach();
    const auto key = [&](double x) {
      return x < most ? static_cast<std::uint64_t>(std::max(x, 0.0)) : max_key_;
    };
    return {key(std::floor(mean - reach)), key(std::ceil(mean + reach))};
  }

  KeyRange range_of_sample(const Bits* group) {
    const std::size_t runs = sampled_ / kRun,
                      stride = (m_ - kRun) / std::max<std::size_t>(runs - 1, 1);
    for (std::size_t run = 0; run < runs; ++run) {
      std::memcpy(sample_.get() + run * kRun, group + run * stride, kRun * sizeof(Bits));
    }
    const double size = static_cast<double>(sampled_),
                 part = static_cast<double>(kept_) / static_cast<double>(m_);
    const double above = part * size, error = 3 * std::sqrt(above * (1 - part)) + 1;
    KeyRange range{0, max_key_};
    if (above + error < size) {
      range.low = cut_of({sample_.get(), sampled_, static_cast<std::size_t>(above + error)}, range);
    }
    if (above > error) {
      range.high =
          cut_of({sample_.get(), sampled_, static_cast<std::size_t>(above - error)}, range);
    }
    return range;
  }

  // A key that at most `kept` of the listed are above, while more than that, or all, are at or
  // above it; in the range, if that is possible.
  std::uint64_t cut_of(const Listed& listed, KeyRange range) {
    std::size_t above_low = listed.count, above_high = 0;  // above_low: of range.low - 1
    for (unsigned step = 0; range.low < range.high; ++step) {
      const std::uint64_t span = range.high - range.low;
      std::uint64_t key = range.low + span / 2;
      if (step % 3 != 2) {  // in proportion, but now and then halfway, which bounds the steps
        const double along = (static_cast<double>(above_low - listed.kept) + 0.5) /
                             static_cast<double>(above_low - above_high + 1);
        key = range.low +
              std::min(static_cast<std::uint64_t>(along * static_cast<double>(span)), span - 1);
      }
      const std::size_t above = above_mask_(listed.keys, listed.count, key, at_least_.get());
      if (above == listed.kept) return key;
      if (above < listed.kept) {
        range.high = key;
        above_high = above;
      } else {
        range.low = key + 1;
        above_low = above;
      }
    }
    return range.low;
  }

  // False if the cut is not in the range.
  bool cut_within(const Bits* group, KeyRange range, std::uint8_t* bits) {
    const Above found =
        bracket_mask_(group, m_, range.low, range.high, bits, keys_.get(), positions_.get());
    if (found.above > kept_ || found.above + found.tied < kept_) return false;
    const std::uint64_t key = cut_of({keys_.get(), found.tied, kept_ - found.above}, range);
    keep_above(group, key, bits);

    forecast_.saw(static_cast<double>(key));
    const double listed = static_cast<double>(found.tied) /
                          static_cast<double>(range.high - range.low + 1) * 2 * forecast_.reach();
    is_foreseen_ = listed < kUsefulPart * static_cast<double>(m_);
    return true;
  }

  // Keeps what is above `key`, and the last of those that have it.
  void keep_above(const Bits* group, std::uint64_t key, std::uint8_t* bits) {
    std::size_t missing = kept_ - above_mask_(group, m_, key, bits);
    if (missing == 0) return;
    if (key == 0) {
      BitWriter(at_least_.get(), 0).append_run(true, m_);
    } else {
      above_mask_(group, m_, key - 1, at_least_.get());
    }
    for (std::size_t i = row_bytes(m_); missing > 0;) {
      --i;
      unsigned tied = static_cast<unsigned>(at_least_[i] ^ bits[i]);
      for (; missing > 0 && tied != 0; --missing) {
        const unsigned last = 1u << (31 - __builtin_clz(tied));
        bits[i] = static_cast<std::uint8_t>(bits[i] | last);
        tied ^= last;
      }
    }
  }

  AboveMask above_mask_;
  BracketMask bracket_mask_;
  NmMask nm_mask_;
  std::uint64_t max_key_;
  std::size_t m_, kept_, sampled_;
  Scratch<Bits> sample_, keys_;
  Scratch<std::uint16_t> positions_;
  Scratch<std::uint8_t> own_bits_, at_least_;
  Forecast forecast_;
  bool is_foreseen_ = false;
};

// Short keys are tied so often that a kernel's search, which begins where the cuts of the groups
// before were, ends sooner than a list is made.
bool is_bracketed(const Kernels& kernels, Dtype dtype, NmPattern pattern) {
  constexpr std::size_t kMost = 65'536;
  const std::size_t most_small = width(dtype) == 4 ? kernels.most_for_nm_mask : 256;
  return width(dtype) >= 4 && pattern.m > most_small && pattern.m <= kMost && pattern.n > 0 &&
         pattern.n < pattern.m;
}

}  // namespace

std::unique_ptr<NmGroups> nm_groups(const Kernels& kernels, Dtype dtype, NmPattern pattern) {
  if (!is_bracketed(kernels, dtype, pattern)) {
    return std::make_unique<ByKernel>((*kernels.nm_mask)[dtype], pattern);
  }
  if (width(dtype) == 4) return std::make_unique<ByBracket<std::uint32_t>>(kernels, dtype, pattern);
  return std::make_unique<ByBracket<std::uint64_t>>(kernels, dtype, pattern);
}

}  // namespace prunepack
