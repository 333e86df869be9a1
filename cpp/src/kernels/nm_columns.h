// nm_columns, the same for all ISAs but for the step that ranks as many groups as a word has bits.
#pragma once

#include "fetch_ahead.h"
#include "key.h"

namespace prunepack {
namespace {

// Columns is for groups of m <= padded elements: zeros in front of them are the smallest and come
// first, so they are pruned before all others.
template <class Columns>
void write_columns(const void* weights, std::size_t stride, std::size_t columns, std::size_t n,
                   std::size_t m, std::uint8_t* mask, std::size_t mask_stride) noexcept {
  const auto* const in = static_cast<const typename Columns::Bits*>(weights);
  const Columns groups(stride, n, m, mask_stride);
  for (std::size_t first = 0; first < columns; first += Columns::kStep) {
    const std::size_t left = columns - first;
    // Whole rows follow each other, so another band is likely to follow them. It is fetched from
    // its beginning on: its rows, each a stream, would be so many that few come in time.
    if (stride == columns) {
      constexpr std::size_t kBytes = sizeof(typename Columns::Bits);
      fetch<Cache::l2>(moved(in + first * m, m * stride * kBytes), m * Columns::kStep * kBytes);
    }
    groups.write(in + first, left < Columns::kStep ? left : Columns::kStep, mask + first / 8);
  }
}

template <template <class E, std::size_t padded> class Columns, class E>
void nm_columns_by(const void* weights, std::size_t stride, std::size_t columns, std::size_t n,
                   std::size_t m, std::uint8_t* mask, std::size_t mask_stride) noexcept {
  if (n == 0 || n == m) {
    for (std::size_t e = 0; e < m; ++e) fill_bits(mask + e * mask_stride, columns, n == 0);
    return;
  }
  const auto write = m <= 2    ? write_columns<Columns<E, 2>>
                     : m <= 4  ? write_columns<Columns<E, 4>>
                     : m <= 8  ? write_columns<Columns<E, 8>>
                     : m <= 16 ? write_columns<Columns<E, 16>>
                     : m <= 32 ? write_columns<Columns<E, 32>>
                               : write_columns<Columns<E, 64>>;
  write(weights, stride, columns, n, m, mask, mask_stride);
}

}  // namespace
}  // namespace prunepack
