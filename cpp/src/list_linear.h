// Linear layers computed from lists: lists.h says when and why.
#pragma once

#include "prunepack/linear.h"

namespace prunepack {

// What linear() does, from the packed form of the matrix.
void linear_by_lists(const Kernels& kernels, const Prepared& matrix,
                     const LinearArguments& arguments, unsigned threads);

}  // namespace prunepack
