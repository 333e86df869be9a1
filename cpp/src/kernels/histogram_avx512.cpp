// key_histogram, AVX-512.
#include "histogram.h"
#include "tables.h"

namespace prunepack::avx512 {

const PerDtype<KeyHistogram> key_histogram = PRUNEPACK_PER_ELEMENT(key_histogram_of);

}  // namespace prunepack::avx512
