// Memory that notices what a kernel should not have done.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace prunepack::check {

// Bytes between two pages that fault when touched, for what kernels read. At least as many as asked
// for, and whole pages, so that both ends touch a forbidden page; of those that follow, `beyond`
// bytes are forbidden as well.
class Guarded {
 public:
  explicit Guarded(std::size_t bytes, std::size_t beyond = 0);
  ~Guarded();
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  std::uint8_t* begin() const { return map_ + page_; }
  std::uint8_t* end() const { return begin() + bytes_; }
  std::size_t size() const { return bytes_; }

  // From here on a write faults too.
  void seal() const;

  // The last bytes, so that the next one faults: the address takes every alignment as `bytes`
  // grows.
  const std::uint8_t* tail(std::size_t bytes) const { return end() - bytes; }

 private:
  std::size_t page_, bytes_, map_bytes_;
  std::uint8_t* map_;
};

// Where two tables write the same output, surrounded by marked bytes.
class Outputs {
 public:
  explicit Outputs(std::size_t most_bytes);

  // Makes room for `bytes`, `shift` bytes after an aligned address.
  void prepare(std::size_t bytes, std::size_t shift = 0);
  std::uint8_t* expected() { return expected_.front().bytes + start_; }
  std::uint8_t* actual() { return actual_.front().bytes + start_; }

  // True if the first `bytes` are the same and nothing outside the room was written.
  bool agree(std::size_t bytes) const;
  bool agree() const { return agree(room_); }

 private:
  struct alignas(64) Line {
    std::uint8_t bytes[64];
  };
  std::vector<Line> expected_, actual_;
  std::size_t start_ = 0, room_ = 0;
};

}  // namespace prunepack::check
