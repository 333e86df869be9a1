// The parts of the check. Each prints a line for every family.
#pragma once

#include "prunepack/isa.h"
#include "prunepack/kernels.h"
#include "report.h"

namespace prunepack::check {

// How much to try: `quick` is for emulated CPUs.
enum class Effort { full, quick };

// Every kernel of `tested` against the scalar one.
void check_kernels(const Kernels& tested, Effort effort, Report& report);

// Whole-tensor operations with `tested` on 1, 2 and 5 threads, against scalar on one.
void check_tensors(const Kernels& tested, Effort effort, Report& report);

// Every panel product against sums in float64.
void check_panels(const Kernels& tested, Effort effort, Report& report);

// The kernels of lists.h.
void check_lists(const Kernels& tested, Report& report);
void check_list_dots(const Kernels& tested, Report& report);

// linear() with `tested` on 2 and 5 threads against one.
void check_linear(const Kernels& tested, Effort effort, Report& report);

// parallel_for(), which is the same for every table; `isa` is what to call it.
void check_threads(Isa isa, Report& report);

}  // namespace prunepack::check
