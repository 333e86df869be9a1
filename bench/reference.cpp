#include "reference.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

#include "prunepack/isa.h"
#include "prunepack/threads.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace prunepack::bench {
namespace {

using Sum = std::uint64_t (*)(const std::uint8_t* bytes, std::size_t count) noexcept;

std::uint64_t sum_words(const std::uint8_t* bytes, std::size_t count) noexcept {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i + sizeof sum <= count; i += sizeof sum) {
    std::uint64_t word;
    std::memcpy(&word, bytes + i, sizeof word);
    sum += word;
  }
  return sum;
}

#ifdef __x86_64__

// Eight sums, so that none waits for the one before.
constexpr std::size_t kSums = 8;

__attribute__((target("avx2"))) std::uint64_t sum_avx2(const std::uint8_t* bytes,
                                                       std::size_t count) noexcept {
  constexpr std::size_t kStep = kSums * sizeof(__m256i);
  __m256i sums[kSums];
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  const std::size_t whole = count / kStep * kStep;
  for (std::size_t i = 0; i < whole; i += kStep) {
    const auto* in = reinterpret_cast<const __m256i*>(bytes + i);
#pragma GCC unroll 8
    for (std::size_t j = 0; j < kSums; ++j) {
      sums[j] = _mm256_add_epi64(sums[j], _mm256_loadu_si256(in + j));
    }
  }
  std::uint64_t words[kStep / sizeof(std::uint64_t)];
  std::memcpy(words, sums, sizeof words);
  std::uint64_t total = sum_words(bytes + whole, count - whole);
  for (const std::uint64_t word : words) total += word;
  return total;
}

__attribute__((target("avx512f"))) std::uint64_t sum_avx512(const std::uint8_t* bytes,
                                                            std::size_t count) noexcept {
  constexpr std::size_t kStep = kSums * sizeof(__m512i);
  __m512i sums[kSums];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  const std::size_t whole = count / kStep * kStep;
  for (std::size_t i = 0; i < whole; i += kStep) {
#pragma GCC unroll 8
    for (std::size_t j = 0; j < kSums; ++j) {
      sums[j] = _mm512_add_epi64(sums[j], _mm512_loadu_si512(bytes + i + j * sizeof(__m512i)));
    }
  }
  std::uint64_t words[kStep / sizeof(std::uint64_t)];
  std::memcpy(words, sums, sizeof words);
  std::uint64_t total = sum_words(bytes + whole, count - whole);
  for (const std::uint64_t word : words) total += word;
  return total;
}

#endif

Sum widest_sum() {
#ifdef __x86_64__
  if (cpu_has(Isa::avx512)) return sum_avx512;
  if (cpu_has(Isa::avx2)) return sum_avx2;
#endif
  return sum_words;  // vectorised by the compiler, as wide as its baseline
}

std::atomic<std::uint64_t> sink;  // so that a sum is not left out

}  // namespace

const char* name(Reference reference) {
  switch (reference) {
    case Reference::read:
      return "READ";
    case Reference::copy:
      return "MEMCPY";
    default:
      return "DENSE";
  }
}

void run(Reference reference, const void* dense, void* out, std::size_t bytes, unsigned threads) {
  static const Sum sum = widest_sum();
  const auto* in = static_cast<const std::uint8_t*>(dense);
  auto* to = static_cast<std::uint8_t*>(out);
  const std::size_t part = (bytes / threads + 63) / 64 * 64;
  parallel_for(threads, threads, [&](std::size_t i) {
    const std::size_t first = std::min(i * part, bytes), count = std::min(part, bytes - first);
    if (reference == Reference::copy) {
      std::memcpy(to + first, in + first, count);
    } else {
      sink.store(sum(in + first, count), std::memory_order_relaxed);
    }
  });
}

}  // namespace prunepack::bench
