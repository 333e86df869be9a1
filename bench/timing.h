// Timing by turns: machines drift, so what counts is how long two things take one after the other.
#pragma once

#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

namespace prunepack::bench {

inline double seconds(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Spread {
  double median, p10, p90;
};

inline Spread spread(std::vector<double> numbers) {
  std::sort(numbers.begin(), numbers.end());
  const auto at = [&](double part) {
    return numbers[static_cast<std::size_t>(
        std::lround(part * static_cast<double>(numbers.size() - 1)))];
  };
  return {at(0.5), at(0.1), at(0.9)};
}

// Something to time: one sample is as many calls as take long enough to be timed well.
class Timed {
 public:
  // Calls `work` to warm up, and again to see how long it takes if that was not clear.
  Timed(std::function<void()> work, clockid_t clock) : work_(std::move(work)), clock_(clock) {
    double taken = sample();
    if (taken < kClearSeconds) taken = sample();
    calls_ = static_cast<std::size_t>(std::ceil(std::clamp(kSampleSeconds / taken, 1.0, 1e4)));
    samples_.clear();
  }

  // Takes a sample, and returns the seconds of one call.
  double sample() {
    const double start = seconds(clock_);
    for (std::size_t i = 0; i < calls_; ++i) work_();
    samples_.push_back(std::max(seconds(clock_) - start, 1e-9) / static_cast<double>(calls_));
    return samples_.back();
  }

  const std::vector<double>& samples() const { return samples_; }

 private:
  static constexpr double kSampleSeconds = 2e-4, kClearSeconds = 1e-2;

  std::function<void()> work_;
  clockid_t clock_;
  std::size_t calls_ = 1;
  std::vector<double> samples_;
};

// How many times faster `a` is than `b`, sample by sample.
inline Spread speed_up(const Timed& a, const Timed& b) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < a.samples().size(); ++i) {
    ratios.push_back(b.samples()[i] / a.samples()[i]);
  }
  return spread(std::move(ratios));
}

}  // namespace prunepack::bench
