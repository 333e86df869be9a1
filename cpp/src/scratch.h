// Memory for one call: not initialised, and cheap to get in large pieces.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

namespace prunepack {

// A large buffer that is new from the system costs a page fault for every 4 KiB of it, which can be
// more than the work it is for. On huge pages it is one for every 2 MiB.
template <class Item>
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(std::size_t items) : items_(allocate(items * sizeof(Item))) {}

  Item* get() { return items_.get(); }
  const Item* get() const { return items_.get(); }
  Item& operator[](std::size_t i) { return items_[i]; }
  const Item& operator[](std::size_t i) const { return items_[i]; }

 private:
  static constexpr std::size_t kHugePage = 2 * 1024 * 1024;

  struct Free {
    void operator()(Item* items) const { std::free(items); }
  };

  static Item* allocate(std::size_t bytes) {
    const std::size_t alignment = bytes >= kHugePage ? kHugePage : 64;
    const std::size_t rounded = (bytes + alignment) / alignment * alignment;
    void* memory = std::aligned_alloc(alignment, rounded);
    if (memory == nullptr) throw std::bad_alloc();
    if (alignment == kHugePage) madvise(memory, rounded, MADV_HUGEPAGE);  // a wish, not a need
    return static_cast<Item*>(memory);
  }

  std::unique_ptr<Item[], Free> items_;
};

}  // namespace prunepack
