// Which layout a matrix is put into, and how large its panels become.
#pragma once

#include <cstddef>
#include <optional>

#include "panel_survey.h"
#include "prunepack/linear.h"

namespace prunepack {

struct LayoutChoice {
  Layout layout;
  std::size_t kept;
  std::size_t breadth;
};

// The layout that is likely to be the fastest, or `wanted` with what it needs.
LayoutChoice choose_layout(const PanelSurvey& survey, const Prepared& matrix, Isa isa,
                           Activations activations, std::optional<Layout> wanted);

// The bytes of a panel of `blocks` blocks of `matrix`, a multiple of kPanelAlignment; of csr those
// of the lists of its rows.
std::size_t panel_bytes(const PanelNeeds& needs, const Prepared& matrix, std::size_t blocks);

std::size_t block_slots(const PanelNeeds& needs, std::size_t breadth);

}  // namespace prunepack
