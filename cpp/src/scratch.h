// Memory for one call: not initialised, and cheap to get in large pieces.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <new>
#include <utility>

namespace prunepack {

struct ScratchBlock {
  void* memory = nullptr;
  std::size_t bytes = 0;
};

// At least so many bytes from the system, to be given to std::free: not initialised, and on huge
// pages if they are many.
inline ScratchBlock allocate_block(std::size_t bytes) {
  constexpr std::size_t huge_page = 2 * 1024 * 1024;
  const std::size_t alignment = bytes >= huge_page ? huge_page : 64;
  const std::size_t rounded = (bytes + alignment) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, rounded);
  if (memory == nullptr) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  if (alignment == huge_page) madvise(memory, rounded, MADV_HUGEPAGE);  // a wish, not a need
#endif
  return {memory, rounded};
}

// Blocks that a thread gave back and may want again. Memory that is new from the system costs a
// page fault and the clearing of the page, which can be more than the work it is for.
class ScratchBlocks {
 public:
  using Block = ScratchBlock;

  static Block take(std::size_t bytes) {
    for (Block& kept : kept_.blocks) {
      if (kept.bytes >= bytes && kept.bytes / 4 <= bytes) return std::exchange(kept, Block{});
    }
    return allocate_block(bytes);
  }

  static void give_back(Block block) {
    for (Block& kept : kept_.blocks) {  // the larger of the two stays
      if (block.bytes > kept.bytes && block.bytes <= kMostKept) std::swap(block, kept);
    }
    std::free(block.memory);
  }

 private:
  static constexpr std::size_t kMostKept = 16 * 1024 * 1024;

  struct Kept {
    Block blocks[3];
    ~Kept() {
      for (const Block& block : blocks) std::free(block.memory);
    }
  };

  static inline thread_local Kept kept_;
};

template <class Item>
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(std::size_t items) : block_(ScratchBlocks::take(items * sizeof(Item))) {}
  Scratch(Scratch&& other) noexcept : block_(std::exchange(other.block_, ScratchBlock{})) {}
  Scratch& operator=(Scratch&& other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Scratch() {
    if (block_.memory != nullptr) ScratchBlocks::give_back(block_);
  }

  Item* get() { return static_cast<Item*>(block_.memory); }
  const Item* get() const { return static_cast<const Item*>(block_.memory); }
  Item& operator[](std::size_t i) { return get()[i]; }
  const Item& operator[](std::size_t i) const { return get()[i]; }

 private:
  ScratchBlock block_;
};

}  // namespace prunepack
