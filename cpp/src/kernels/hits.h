// Words of a mask that are to be looked at later. In an unnamed namespace; key.h says why.
#pragma once

#include <cstddef>
#include <cstdint>

namespace prunepack {
namespace {

// Words that are not zero, with where they are. Nobody can predict which these are, so a branch
// would cost more than to collect them first.
class Hits {
 public:
  static constexpr std::size_t kWords = 64;
  void add(std::size_t first, std::uint64_t word) noexcept {
    words_[count_] = word;
    firsts_[count_] = first;
    count_ += word != 0;
  }
  template <class Visit>
  void visit(const Visit& visit) noexcept {
    for (std::size_t i = 0; i < count_; ++i) visit(firsts_[i], words_[i]);
    count_ = 0;
  }

 private:
  std::uint64_t words_[kWords];
  std::size_t firsts_[kWords], count_ = 0;
};

}  // namespace
}  // namespace prunepack
