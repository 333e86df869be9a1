// key_histogram, scalar: the definition the other ISAs are tested against.
#include "histogram.h"
#include "tables.h"

namespace prunepack::scalar {

const PerDtype<KeyHistogram> key_histogram = PRUNEPACK_PER_ELEMENT(key_histogram_of);

}  // namespace prunepack::scalar
