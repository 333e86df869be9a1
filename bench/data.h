// What the benchmarks work on: buffers on huge pages, and weights of several kinds to fill them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "prunepack/dtype.h"

namespace prunepack::bench {

// Memory on huge pages where the system gives them, touched before use. It starts on a cache line,
// and each buffer at another place in its page, so that two of them do not alias.
class Buffer {
 public:
  explicit Buffer(std::size_t bytes);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::uint8_t* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void* mapped_;
  std::size_t mapped_bytes_, bytes_;
  std::uint8_t* data_;
};

using SharedBuffer = std::shared_ptr<Buffer>;

enum class Kind {
  normal,      // a bell curve
  constant,    // all equal
  two_values,  // two magnitudes at random, half each
  sorted,      // rising
  nan,         // three NaNs of every four
  quantised,   // a bell curve rounded to some fourteen magnitudes
  sparse,      // zeros at random, and a bell curve that stays away from zero
};

struct Input {
  Kind kind = Kind::normal;
  double zeros = 0;  // for sparse: the part that is zero
};

const char* name(Dtype dtype);
const char* name(Kind kind);

constexpr bool has_nan(Dtype dtype) { return dtype != Dtype::int8 && dtype != Dtype::uint8; }

// The same weights for the same arguments, on any machine.
SharedBuffer make_weights(Dtype dtype, std::size_t count, Input input = {});

// A mask of `count` bits that are 0 at random with probability `zeros`.
SharedBuffer make_mask(std::size_t count, double zeros);

// A key that about `part` of the weights do not exceed.
std::uint64_t key_at(Dtype dtype, const Buffer& weights, double part);

}  // namespace prunepack::bench
