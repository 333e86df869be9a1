// key_histogram, AVX2.
#include "histogram.h"
#include "tables.h"

namespace prunepack::avx2 {

const PerDtype<KeyHistogram> key_histogram = PRUNEPACK_PER_ELEMENT(key_histogram_of);

}  // namespace prunepack::avx2
