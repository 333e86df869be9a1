// What a fuzz target takes from the bytes it is given, and memory in which every byte too far is
// noticed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>

#include "prunepack/kernels.h"
#include "weights.h"

namespace prunepack::fuzz {

using check::Random;

// Exactly so many bytes on the heap: the sanitizer sees an access to the next one.
class Memory {
 public:
  explicit Memory(std::size_t bytes, std::uint8_t filling = 0xa5)
      : bytes_(bytes), data_(new std::uint8_t[bytes]) {
    if (bytes > 0) std::memset(data_.get(), filling, bytes);
  }
  Memory(Memory&&) = default;
  Memory& operator=(Memory&&) = default;
  Memory(const Memory& other) : Memory(other.bytes_) {
    if (bytes_ > 0) std::memcpy(data_.get(), other.data(), bytes_);
  }
  Memory& operator=(const Memory& other) { return *this = Memory(other); }
  std::uint8_t* data() { return data_.get(); }
  const std::uint8_t* data() const { return data_.get(); }
  std::size_t size() const { return bytes_; }
  template <class Element>
  Element* as() {
    return reinterpret_cast<Element*>(data_.get());
  }
  bool operator==(const Memory& other) const {
    return std::equal(data(), data() + bytes_, other.data(), other.data() + other.bytes_);
  }

 private:
  std::size_t bytes_;
  std::unique_ptr<std::uint8_t[]> data_;
};

// Takes the input apart from its beginning. Where it ends, all is 0.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t bytes) : data_(data), left_(bytes) {}

  std::uint64_t bits(std::size_t bytes) {
    std::uint64_t value = 0;
    const std::size_t taken = std::min(bytes, left_);
    if (taken > 0) std::memcpy(&value, data_, taken);
    data_ += taken;
    left_ -= taken;
    return value;
  }
  // A number less than `bound`, from as few bytes as that needs.
  std::size_t below(std::size_t bound) {
    if (bound < 2) return 0;
    return static_cast<std::size_t>(bits(bound <= 256 ? 1 : bound <= 65'536 ? 2 : 8) % bound);
  }
  std::size_t up_to(std::size_t most) { return below(most + 1); }
  template <class List>
  auto one_of(const List& list) {
    return list[below(std::size(list))];
  }

  // The next bytes as an input of their own.
  Input split(std::size_t bytes) {
    const std::size_t taken = std::min(bytes, left_);
    const Input first(data_, taken);
    data_ += taken;
    left_ -= taken;
    return first;
  }

  // Weights: of a distribution that tends to break things, or the rest of the input over and over.
  Memory weights(Dtype dtype, std::size_t count) {
    Memory memory(count * width(dtype));
    const std::size_t kind = below(2 * check::kDistributions.size());
    if (kind < check::kDistributions.size()) {
      Random random(bits(2));
      check::kDistributions[kind].fill(random, dtype, memory.data(), count);
    } else {
      repeat(memory);
    }
    return memory;
  }

  Memory mask(std::size_t bytes) {
    Memory memory(bytes);
    const std::size_t kind = below(2 * check::kMaskKinds.size());
    if (kind < check::kMaskKinds.size()) {
      Random random(bits(2));
      check::kMaskKinds[kind].fill(random, memory.data(), bytes);
    } else {
      repeat(memory);
    }
    return memory;
  }

 private:
  void repeat(Memory& memory) const {
    for (std::size_t i = 0; i < memory.size(); ++i) {
      memory.data()[i] = left_ > 0 ? data_[i % left_] : 0;
    }
  }

  const std::uint8_t* data_;
  std::size_t left_;
};

// Ends the run, which is what a fuzzer looks for, if a property does not hold.
inline void require(bool holds, const char* what, const Kernels& kernels) {
  if (holds) return;
  std::fprintf(stderr, "%s: %s\n", name(kernels.isa), what);
  std::abort();
}

// Calls work(kernels) for every table that can run here, the scalar one first.
template <class Work>
void for_isas(const Work& work) {
  for (const Isa isa : kAllIsas) {
    if (const Kernels* kernels = kernels_for(isa)) work(*kernels);
  }
}

inline bool bit(const std::uint8_t* mask, std::size_t i) { return mask[i / 8] >> i % 8 & 1; }

inline void set_bit(std::uint8_t* mask, std::size_t i) {
  mask[i / 8] = static_cast<std::uint8_t>(mask[i / 8] | 1u << i % 8);
}

}  // namespace prunepack::fuzz
