#include "data.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <vector>

#include "prunepack/threads.h"

namespace prunepack::bench {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kLine = 64, kLinesOfPage = 4096 / kLine;

// A different cache line of a page for each of the next 64 buffers, neighbours far apart.
std::size_t stagger() {
  static std::atomic<std::size_t> buffers = 0;
  return buffers++ * 19 % kLinesOfPage * kLine;
}

// A well-mixed number for each i: the output step of splitmix64.
std::uint64_t mixed(std::uint64_t i) {
  i *= 0x9e3779b97f4a7c15;
  i = (i ^ i >> 30) * 0xbf58476d1ce4e5b9;
  i = (i ^ i >> 27) * 0x94d049bb133111eb;
  return i ^ i >> 31;
}

constexpr double kTwoTo32 = 4294967296.0;

// Sixteen bits of what bell(i) is made of, too low to be seen in it: one number less to mix.
double uniform(std::size_t i) { return static_cast<double>(mixed(2 * i) & 0xffff) / 65536; }

// The sum of four uniform numbers, which is close to normal, with variance 1.
double bell(std::size_t i) {
  const std::uint64_t a = mixed(2 * i), b = mixed(2 * i + 1);
  const std::uint64_t sum = (a >> 32) + (a & 0xffffffff) + (b >> 32) + (b & 0xffffffff);
  return (static_cast<double>(sum) / kTwoTo32 - 2) * std::sqrt(3.0);
}

double weight(Input input, std::size_t i, std::size_t count) {
  switch (input.kind) {
    case Kind::normal:
      return bell(i);
    case Kind::constant:
      return 1;
    case Kind::two_values:
      return mixed(i) >> 63 ? 0.5 : -1.5;
    case Kind::sorted:
      return 3 * static_cast<double>(i + 1) / static_cast<double>(count);
    case Kind::nan:
      return i % 4 == 0 ? bell(i) : std::numeric_limits<double>::quiet_NaN();
    case Kind::quantised:
      return std::round(4 * bell(i)) / 4;
    case Kind::sparse: {
      const double x = bell(i);
      return uniform(i) < input.zeros ? 0 : x + std::copysign(0.25, x);
    }
  }
  return 0;
}

// The nearest number in a floating type of 1 + exponent_bits + mantissa_bits bits; subnormal ones
// become 0, and NaN has all its bits set.
std::uint32_t narrow(double x, unsigned exponent_bits, unsigned mantissa_bits) {
  const unsigned bits = exponent_bits + mantissa_bits;
  if (std::isnan(x)) return (1u << bits) - 1;
  const unsigned dropped = 23 - mantissa_bits;
  const auto wide = std::bit_cast<std::uint32_t>(static_cast<float>(x));
  const std::uint32_t sign = wide >> 31 << bits;
  const std::uint32_t rounded = ((wide & 0x7fffffff) + (1u << (dropped - 1))) >> dropped;
  const std::uint32_t bias = (127 - ((1u << (exponent_bits - 1)) - 1)) << mantissa_bits;
  return rounded < bias + (1u << mantissa_bits) ? sign : sign | (rounded - bias);
}

constexpr double kInt8PerUnit = 36;  // the bell curve ends at 3.46

template <Dtype dtype>
auto element(double x) {
  if constexpr (dtype == Dtype::float8_e4m3fn) return static_cast<std::uint8_t>(narrow(x, 4, 3));
  if constexpr (dtype == Dtype::float8_e5m2) return static_cast<std::uint8_t>(narrow(x, 5, 2));
  if constexpr (dtype == Dtype::int8) {
    return static_cast<std::int8_t>(static_cast<int>(kInt8PerUnit * x + std::copysign(0.5, x)));
  }
  if constexpr (dtype == Dtype::uint8) {
    return static_cast<std::uint8_t>(static_cast<int>(kInt8PerUnit * std::abs(x) + 0.5));
  }
  if constexpr (dtype == Dtype::float16) return static_cast<std::uint16_t>(narrow(x, 5, 10));
  if constexpr (dtype == Dtype::bfloat16) return static_cast<std::uint16_t>(narrow(x, 8, 7));
  if constexpr (dtype == Dtype::float32) return static_cast<float>(x);
  if constexpr (dtype == Dtype::float64) return x;
}

template <Dtype dtype>
void fill(Buffer& weights, std::size_t count, Input input) {
  constexpr std::size_t kBlock = std::size_t{1} << 16;
  auto* out = reinterpret_cast<decltype(element<dtype>(0))*>(weights.data());
  parallel_for((count + kBlock - 1) / kBlock, default_threads(), [&](std::size_t block) {
    const std::size_t end = std::min(count, (block + 1) * kBlock);
    for (std::size_t i = block * kBlock; i < end; ++i) {
      out[i] = element<dtype>(weight(input, i, count));
    }
  });
}

using Fill = void (*)(Buffer&, std::size_t, Input);
constexpr PerDtype<Fill> kFill = {
    {fill<Dtype::float8_e4m3fn>, fill<Dtype::float8_e5m2>, fill<Dtype::int8>, fill<Dtype::uint8>,
     fill<Dtype::float16>, fill<Dtype::bfloat16>, fill<Dtype::float32>, fill<Dtype::float64>}};

std::uint64_t key(Dtype dtype, const std::uint8_t* weights, std::size_t i) {
  std::uint64_t bits = 0;  // the low bytes, on the little-endian machines there are kernels for
  std::memcpy(&bits, weights + i * width(dtype), width(dtype));
  if (dtype == Dtype::uint8) return bits;
  if (dtype == Dtype::int8) return bits < 128 ? bits : 256 - bits;
  return bits & ~(std::uint64_t{1} << (8 * width(dtype) - 1));
}

}  // namespace

Buffer::Buffer(std::size_t bytes)
    : mapped_bytes_((bytes + 4096 + kHugePage - 1) / kHugePage * kHugePage + kHugePage),
      bytes_(bytes) {
  mapped_ =
      mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped_ == MAP_FAILED) throw std::bad_alloc();
  const std::size_t to_huge_page =
      (kHugePage - reinterpret_cast<std::uintptr_t>(mapped_) % kHugePage) % kHugePage;
  auto* start = static_cast<std::uint8_t*>(mapped_) + to_huge_page;
#ifdef MADV_HUGEPAGE
  madvise(start, mapped_bytes_ - kHugePage, MADV_HUGEPAGE);
#endif
  data_ = start + stagger();
  std::memset(data_, 0, bytes);
}

Buffer::~Buffer() { munmap(mapped_, mapped_bytes_); }

const char* name(Dtype dtype) {
  static constexpr PerDtype<const char*> names = {{"float8_e4m3fn", "float8_e5m2", "int8", "uint8",
                                                   "float16", "bfloat16", "float32", "float64"}};
  return names[dtype];
}

const char* name(Kind kind) {
  switch (kind) {
    case Kind::normal:
      return "normal";
    case Kind::constant:
      return "constant";
    case Kind::two_values:
      return "two_values";
    case Kind::sorted:
      return "sorted";
    case Kind::nan:
      return "nan";
    case Kind::quantised:
      return "quantised";
    case Kind::sparse:
      return "sparse";
  }
  return "unknown";
}

SharedBuffer make_weights(Dtype dtype, std::size_t count, Input input) {
  auto weights = std::make_shared<Buffer>(count * width(dtype));
  kFill[dtype](*weights, count, input);
  return weights;
}

SharedBuffer make_mask(std::size_t count, double zeros) {
  auto mask = std::make_shared<Buffer>((count + 7) / 8);
  for (std::size_t i = 0; i < count; ++i) {
    const unsigned kept = uniform(i) >= zeros;
    mask->data()[i / 8] = static_cast<std::uint8_t>(mask->data()[i / 8] | kept << i % 8);
  }
  return mask;
}

std::uint64_t key_at(Dtype dtype, const Buffer& weights, double part) {
  constexpr std::size_t kSample = std::size_t{1} << 16;
  const std::size_t count = weights.bytes() / width(dtype);
  const std::size_t step = std::max<std::size_t>(count / kSample, 1);
  std::vector<std::uint64_t> keys;
  for (std::size_t i = 0; i < count; i += step) keys.push_back(key(dtype, weights.data(), i));
  const auto rank = static_cast<std::ptrdiff_t>(part * static_cast<double>(keys.size() - 1));
  std::nth_element(keys.begin(), keys.begin() + rank, keys.end());
  return keys[static_cast<std::size_t>(rank)];
}

}  // namespace prunepack::bench
