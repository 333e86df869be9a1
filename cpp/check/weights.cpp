#include "weights.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/key.h"

namespace prunepack::check {
namespace {

template <class E>
std::uint64_t key_of(const void* weights, std::size_t i) {
  typename E::Bits bits;
  std::memcpy(&bits, static_cast<const std::uint8_t*>(weights) + i * sizeof bits, sizeof bits);
  return E::key(bits);
}

template <class E>
std::uint64_t max_key_of() {
  return E::kMaxKey;
}

constexpr PerDtype<decltype(&key_of<Float32>)> kKeyOf = PRUNEPACK_PER_ELEMENT(key_of);
constexpr PerDtype<decltype(&max_key_of<Float32>)> kMaxKeyOf = PRUNEPACK_PER_ELEMENT(max_key_of);

struct Format {
  int exponent_bits, mantissa_bits;  // no exponent: an integer
};
constexpr PerDtype<Format> kFormats = {
    {{4, 3}, {5, 2}, {0, 7}, {0, 8}, {5, 10}, {8, 7}, {8, 23}, {11, 52}}};

std::uint64_t sign_bit(Dtype dtype) {
  return dtype == Dtype::uint8 ? 0 : std::uint64_t{1} << (8 * width(dtype) - 1);
}

// The bits of x, rounded towards zero and kept below infinity. Integers are scaled, since most of
// these numbers are near 1.
std::uint64_t encode(Dtype dtype, double x) {
  const Format format = kFormats[dtype];
  const bool negative = std::signbit(x) && dtype != Dtype::uint8;
  const double size = std::fabs(x);
  if (format.exponent_bits == 0) {
    const int limit = (1 << format.mantissa_bits) - 1;
    const int integer = static_cast<int>(std::min(32 * size, static_cast<double>(limit)));
    return static_cast<std::uint8_t>(negative ? -integer : integer);
  }
  const int bias = (1 << (format.exponent_bits - 1)) - 1;
  const int exponent =
      size == 0 ? 1 - bias : std::clamp(std::ilogb(size), 1 - bias, bias);  // of the last place
  const double most = std::ldexp(2.0, format.mantissa_bits) - 1;
  const double mantissa =
      std::min(std::trunc(std::ldexp(size, format.mantissa_bits - exponent)), most);
  const double implied = std::ldexp(1.0, format.mantissa_bits);
  std::uint64_t key = static_cast<std::uint64_t>(mantissa);
  if (mantissa >= implied) {
    key += static_cast<std::uint64_t>(exponent + bias - 1) << format.mantissa_bits;
  }
  return key | (negative ? sign_bit(dtype) : 0);
}

void put(Dtype dtype, std::uint8_t* weights, std::size_t i, std::uint64_t bits) {
  static_assert(std::endian::native == std::endian::little);
  std::memcpy(weights + i * width(dtype), &bits, width(dtype));
}

template <class Next>
void fill(Dtype dtype, std::uint8_t* weights, std::size_t count, const Next& next) {
  for (std::size_t i = 0; i < count; ++i) put(dtype, weights, i, next());
}

std::uint64_t any_sign(Random& random, Dtype dtype) { return random.bits() & sign_bit(dtype); }

double normal(Random& random) {
  const double radius = std::sqrt(-2 * std::log(1 - random.uniform()));
  return radius * std::cos(2 * 3.14159265358979 * random.uniform());
}

void raw_bits(Random& random, Dtype dtype, std::uint8_t* weights, std::size_t count) {
  fill(dtype, weights, count, [&] { return random.bits(); });
}

void normal(Random& random, Dtype dtype, std::uint8_t* weights, std::size_t count) {
  fill(dtype, weights, count, [&] { return encode(dtype, normal(random)); });
}

void laplace(Random& random, Dtype dtype, std::uint8_t* weights, std::size_t count) {
  fill(dtype, weights, count, [&] {
    return encode(dtype, -0.05 * std::log(1 - random.uniform())) | any_sign(random, dtype);
  });
}

void constant(Random& random, Dtype dtype, std::uint8_t* weights, std::size_t count) {
  const std::uint64_t bits = encode(dtype, 1.5);
  if (dtype == Dtype::int8) return fill(dtype, weights, count, [&] { return bits; });
  fill(dtype, weights, count, [&] { return bits | any_sign(random, dtype); });
}

void two_values(Random& random, Dtype dtype, std::uint8_t* weights, std::size_t count) {
  const std::uint64_t small = encode(dtype, 0.75);
  fill(dtype, weights, count, [&] { return small + random.below(2); });
}

void levels(Random& random, Dtype dtype, std::uint8_t* weights, std::size_t count) {
  fill(dtype, weights, count,
       [&] { return encode(dtype, (static_cast<double>(random.below(9)) - 4) / 4); });
}

void mostly_zero(Random& random, Dtype dtype, std::uint8_t* weights, std::size_t count) {
  const std::uint64_t minus_zero = dtype == Dtype::int8 ? 0 : sign_bit(dtype);
  fill(dtype, weights, count, [&] {
    if (random.below(10) == 0) return encode(dtype, normal(random));
    return random.bits() & minus_zero;
  });
}

void subnormal(Random& random, Dtype dtype, std::uint8_t* weights, std::size_t count) {
  const int mantissa_bits = kFormats[dtype].exponent_bits == 0 ? 2 : kFormats[dtype].mantissa_bits;
  const std::uint64_t ones = (std::uint64_t{1} << mantissa_bits) - 1;
  fill(dtype, weights, count, [&] { return (random.bits() & ones) | any_sign(random, dtype); });
}

// Every fourth is a NaN or an infinity; for integers, one of the ends of their range.
void not_finite(Random& random, Dtype dtype, std::uint8_t* weights, std::size_t count) {
  const Format format = kFormats[dtype];
  const std::uint64_t ones = (std::uint64_t{1} << format.mantissa_bits) - 1;
  const std::uint64_t top = max_key(dtype) & ~ones;  // an infinity, where there is one
  fill(dtype, weights, count, [&] {
    switch (random.below(8)) {
      case 0:
        return dtype == Dtype::int8 ? std::uint64_t{0x80} : top | any_sign(random, dtype);
      case 1:
        return top | (random.bits() & ones) | any_sign(random, dtype);
      default:
        return encode(dtype, normal(random));
    }
  });
}

void sorted(Random& random, Dtype dtype, std::uint8_t* weights, std::size_t count) {
  std::vector<std::uint64_t> elements(count);
  for (std::uint64_t& element : elements) element = encode(dtype, normal(random));
  std::ranges::sort(elements, {}, [&](std::uint64_t bits) { return key_at(dtype, &bits, 0); });
  for (std::size_t i = 0; i < count; ++i) put(dtype, weights, i, elements[i]);
}

void reversed(Random& random, Dtype dtype, std::uint8_t* weights, std::size_t count) {
  std::vector<std::uint8_t> ascending(count * width(dtype));
  sorted(random, dtype, ascending.data(), count);
  for (std::size_t i = 0; i < count; ++i) {
    std::memcpy(weights + i * width(dtype), ascending.data() + (count - 1 - i) * width(dtype),
                width(dtype));
  }
}

constexpr Distribution kAll[] = {
    {"raw bits", raw_bits}, {"levels", levels},          {"not finite", not_finite},
    {"laplace", laplace},   {"zeros 90 %", mostly_zero}, {"two values", two_values},
    {"constant", constant}, {"subnormal", subnormal},    {"sorted", sorted},
    {"reversed", reversed}, {"normal", normal},
};

// Bits of which about numerator / 16 are 1.
template <unsigned numerator>
void bits_of(Random& random, std::uint8_t* mask, std::size_t bytes) {
  for (std::size_t i = 0; i < 8 * bytes; ++i) {
    const unsigned bit = random.below(16) < numerator;
    if (i % 8 == 0) mask[i / 8] = 0;
    mask[i / 8] = static_cast<std::uint8_t>(mask[i / 8] | bit << i % 8);
  }
}

void runs(Random& random, std::uint8_t* mask, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes;) {
    const std::size_t end = std::min(bytes, i + 1 + random.below(24));
    const std::uint8_t value = random.below(2) ? 0xff : 0;
    for (; i < end; ++i) mask[i] = value;
  }
}

constexpr MaskKind kAllMasks[] = {{"half", bits_of<8>}, {"sparse", bits_of<2>},
                                  {"runs", runs},       {"dense", bits_of<14>},
                                  {"none", bits_of<0>}, {"all", bits_of<16>}};

}  // namespace

const std::span<const Distribution> kDistributions = kAll;
const std::span<const MaskKind> kMaskKinds = kAllMasks;

const Distribution& distribution_called(std::string_view name) {
  return *std::find_if(kDistributions.begin(), kDistributions.end(),
                       [&](const Distribution& each) { return each.name == name; });
}

std::uint64_t key_at(Dtype dtype, const void* weights, std::size_t i) {
  return kKeyOf[dtype](weights, i);
}

std::uint64_t max_key(Dtype dtype) { return kMaxKeyOf[dtype](); }

}  // namespace prunepack::check
