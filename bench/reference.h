// What the kernels are held against: the machine's own speed, measured beside them.
#pragma once

#include <cstddef>

namespace prunepack::bench {

enum class Reference {
  read,  // the sum of the dense tensor, with the widest loads this machine has
  copy,  // libc's memcpy of the dense tensor
  dense  // the same product with nothing pruned, from our own layout for that, on the same ISA
};

const char* name(Reference reference);  // as performance figures call it: READ, MEMCPY, DENSE

// Reads `bytes` bytes, and with Reference::copy writes them to `out`, in equal parts on `threads`
// threads. (A dense product is the problem's to run.)
void run(Reference reference, const void* dense, void* out, std::size_t bytes, unsigned threads);

}  // namespace prunepack::bench
