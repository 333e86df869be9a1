// Masks without row padding, which is what kernels read and write.
//
// A row-padded mask whose rows are whole bytes is flat already and is used in place; another is
// kept in a flat copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace prunepack {

// To write: kernels fill bits(), then finish() puts the rows in their places.
class FlatMask {
 public:
  FlatMask(std::uint8_t* mask, std::size_t rows, std::size_t columns);
  std::uint8_t* bits() { return copy_ ? copy_.get() : mask_; }
  void finish();

 private:
  std::uint8_t* mask_;
  std::size_t rows_, columns_;
  std::unique_ptr<std::uint8_t[]> copy_;
};

// To read.
class FlatView {
 public:
  FlatView(const std::uint8_t* mask, std::size_t rows, std::size_t columns);
  const std::uint8_t* bits() const { return copy_ ? copy_.get() : mask_; }

 private:
  const std::uint8_t* mask_;
  std::unique_ptr<std::uint8_t[]> copy_;
};

}  // namespace prunepack
