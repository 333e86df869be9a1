// Fetches what is read soon: a processor that does so unasked stops at the end of a page, sees too
// few loads of a kernel that computes for long between them, and none whose place depends on what
// was read before. What is fetched need not exist.
//
// In an unnamed namespace, for kernels and drivers alike; kernels/key.h says why.
#pragma once

#include <cstddef>
#include <cstdint>

namespace prunepack {
namespace {

// As a number, because no pointer may go far beyond its array.
[[gnu::always_inline]] inline const void* moved(const void* at, std::size_t bytes) noexcept {
  return reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(at) + bytes);
}

// The highest cache that is to have it, as __builtin_prefetch numbers them: L1 is too small for
// what is read much later.
enum class Cache { l1 = 3, l2 = 2 };

template <Cache cache>
[[gnu::always_inline]] inline void fetch_line(const void* at) noexcept {
  __builtin_prefetch(at, 0, static_cast<int>(cache));
}

inline constexpr std::size_t kFetched = 64;  // bytes of a line

// `bytes` bytes from `at` on.
template <Cache cache>
[[gnu::always_inline]] inline void fetch(const void* at, std::size_t bytes) noexcept {
  for (std::size_t byte = 0; byte < bytes; byte += kFetched) fetch_line<cache>(moved(at, byte));
}

// As many bytes as a step of a stream reads from `at` on, but `ahead` bytes further on.
template <std::size_t bytes, std::size_t ahead = 4096>
[[gnu::always_inline]] inline void fetch_ahead(const void* at) noexcept {
#pragma GCC unroll 16
  for (std::size_t byte = 0; byte < bytes; byte += kFetched) {
    fetch_line<Cache::l1>(moved(at, ahead + byte));
  }
}

}  // namespace
}  // namespace prunepack
