// Fetches what a kernel reads soon: a processor that does so unasked stops at the end of a page,
// and sees too few loads of a kernel that computes for long between them. What is fetched need not
// exist.
#pragma once

#include <cstddef>
#include <cstdint>

namespace prunepack {
namespace {

inline constexpr std::size_t kLine = 64;

// As a number, because no pointer may go so far beyond its array.
inline const void* moved(const void* at, std::size_t bytes) noexcept {
  return reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(at) + bytes);
}

// For a step that reads `bytes` bytes from `at` on.
template <std::size_t bytes>
[[gnu::always_inline]] inline void fetch_ahead(const void* at) noexcept {
  constexpr std::size_t kAhead = 4096;
#pragma GCC unroll 16
  for (std::size_t byte = 0; byte < bytes; byte += kLine) {
    __builtin_prefetch(moved(at, kAhead + byte));
  }
}

// `bytes` bytes, `ahead` bytes after `at`: too far to stay in L1 until they are read.
[[gnu::always_inline]] inline void fetch_far_ahead(const void* at, std::size_t ahead,
                                                   std::size_t bytes) noexcept {
  for (std::size_t byte = 0; byte < bytes; byte += kLine) {
    __builtin_prefetch(moved(at, ahead + byte), 0, 2);
  }
}

}  // namespace
}  // namespace prunepack
