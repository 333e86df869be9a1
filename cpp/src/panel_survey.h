// What the masks of a matrix allow: how large it would be in each layout.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "prunepack/linear.h"

namespace prunepack {

inline constexpr std::size_t kBreadths[] = {1, 2, 4, 8, 16};

// What one panel needs.
struct PanelNeeds {
  std::size_t elements = 0;  // kept
  std::size_t index_slots = 0;
  std::size_t in_4 = 0, in_16 = 0;  // the most elements kept of 4 and of 16 columns of a row
  std::array<std::size_t, 5> block_slots{};  // for each of kBreadths

  void operator+=(const PanelNeeds& other);  // the sums, and the larger of the two most
};

class PanelSurvey {
 public:
  PanelSurvey(const PackedMatrix& matrix, const Prepared& prepared, unsigned threads);

  const PanelNeeds& panel(std::size_t stripe, std::size_t i) const {
    return panels_[stripe * panel_count_ + i];
  }
  const PanelNeeds& all() const { return all_; }

 private:
  std::size_t panel_count_;
  std::vector<PanelNeeds> panels_;
  PanelNeeds all_;
};

}  // namespace prunepack
