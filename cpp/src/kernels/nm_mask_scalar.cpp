// nm_mask, nm_columns and nm_bands, scalar: the definition the other ISAs are tested against.
#include <cstring>

#include "key.h"
#include "tables.h"

namespace prunepack::scalar {
namespace {

template <class E>
using Keys = const typename E::Bits*;

template <class E>
bool above(typename E::Bits bits, typename E::Bits key) noexcept {
  return E::key(bits) > key;
}

// The smallest key that no more than `kept` weights of the group are above.
template <class E>
typename E::Bits threshold(Keys<E> group, std::size_t m, std::size_t kept) noexcept {
  using Bits = typename E::Bits;
  Bits low = 0, high = E::kMaxKey;
  while (low < high) {
    const Bits middle = static_cast<Bits>(low + (high - low) / 2);
    std::size_t count = 0;
    for (std::size_t i = 0; i < m; ++i) count += above<E>(group[i], middle);
    if (count <= kept) {
      high = middle;
    } else {
      low = static_cast<Bits>(middle + 1);
    }
  }
  return low;
}

template <class E>
void nm_mask_of(const void* weights, std::size_t groups, std::size_t n, std::size_t m,
                std::uint8_t* mask) noexcept {
  std::memset(mask, 0, (groups * m + 7) / 8);
  const std::size_t kept = m - n;
  for (std::size_t g = 0; g < groups && kept > 0; ++g) {
    const auto* group = static_cast<Keys<E>>(weights) + g * m;
    const typename E::Bits key = threshold<E>(group, m, kept);

    std::size_t surplus =
        0;  // of the weights equal to the threshold, how many are pruned: the first
    for (std::size_t i = 0; i < m; ++i) surplus += E::key(group[i]) >= key;
    surplus -= kept;

    for (std::size_t i = 0; i < m; ++i) {
      const bool tied = E::key(group[i]) == key;
      const bool pruned_tie = tied && surplus > 0;
      surplus -= pruned_tie;
      const bool keep = above<E>(group[i], key) || (tied && !pruned_tie);
      const std::size_t bit = g * m + i;
      mask[bit / 8] = static_cast<std::uint8_t>(mask[bit / 8] | unsigned{keep} << bit % 8);
    }
  }
}

template <class E>
void nm_columns_of(const void* weights, std::size_t stride, std::size_t columns, std::size_t n,
                   std::size_t m, std::uint8_t* mask, std::size_t mask_stride) noexcept {
  for (std::size_t e = 0; e < m; ++e) std::memset(mask + e * mask_stride, 0, (columns + 7) / 8);
  for (std::size_t c = 0; c < columns; ++c) {
    typename E::Bits group[kMostUpright] = {};
    std::uint8_t kept[kMostUpright / 8];
    for (std::size_t e = 0; e < m; ++e) group[e] = static_cast<Keys<E>>(weights)[e * stride + c];
    nm_mask_of<E>(group, 1, n, m, kept);
    for (std::size_t e = 0; e < m; ++e) {
      std::uint8_t& byte = mask[e * mask_stride + c / 8];
      byte = static_cast<std::uint8_t>(byte | (kept[e / 8] >> e % 8 & 1u) << c % 8);
    }
  }
}

template <class E>
void nm_bands_of(const void* weights, std::size_t bands, std::size_t columns, std::size_t n,
                 std::size_t m, std::uint8_t* mask) noexcept {
  std::memset(mask, 0, (bands * m * columns + 7) / 8);
  for (std::size_t first = 0; first < bands * m * columns; first += m * columns) {
    std::uint8_t rows[kTallestBand * kWidestBand / 8];
    const std::size_t stride = (columns + 7) / 8;
    nm_columns_of<E>(static_cast<Keys<E>>(weights) + first, columns, columns, n, m, rows, stride);
    for (std::size_t i = 0; i < m * columns; ++i) {
      const unsigned kept = rows[i / columns * stride + i % columns / 8] >> i % columns % 8 & 1u;
      std::uint8_t& byte = mask[(first + i) / 8];
      byte = static_cast<std::uint8_t>(byte | kept << (first + i) % 8);
    }
  }
}

}  // namespace

const PerDtype<NmMask> nm_mask = PRUNEPACK_PER_ELEMENT(nm_mask_of);
const PerDtype<NmColumns> nm_columns = PRUNEPACK_PER_ELEMENT(nm_columns_of);
const PerDtype<NmBands> nm_bands = PRUNEPACK_PER_ELEMENT(nm_bands_of);

}  // namespace prunepack::scalar
