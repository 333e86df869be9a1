// Products with lists, for registers of any ISA. In an unnamed namespace; key.h says why.
//
// `Lanes` is a register of float32: of(x) has x in all lanes, load, store, add, and
// multiply_add(a, b, c), which is a * b + c.
#pragma once

#include <cstddef>

#include "list_spans.h"

namespace prunepack {
namespace {

// One list.
struct List {
  const std::uint16_t* columns;
  const float* values;
  std::size_t count;
};

inline List list_at(const Lists& lists, std::size_t i) noexcept {
  const ListSpan span(lists, i);
  return {lists.columns + span.begin, static_cast<const float*>(lists.values) + span.begin,
          span.end - span.begin};
}

// Adds the products of element i to the sums of a chain.
template <class Lanes, std::size_t registers>
[[gnu::always_inline]] inline void add_element(const List& list, std::size_t i, const float* x,
                                               typename Lanes::Register* sums) noexcept {
  const float* const column = x + list.columns[i] * (registers * Lanes::kCount);
  const auto value = Lanes::of(list.values[i]);
#pragma GCC unroll 8
  for (std::size_t r = 0; r < registers; ++r) {
    sums[r] = Lanes::multiply_add(value, Lanes::load(column + r * Lanes::kCount), sums[r]);
  }
}

// Elements take `chains` sums in turn, because a multiply-add takes several cycles.
template <class Lanes, std::size_t registers, std::size_t chains>
[[gnu::always_inline]] inline void add_list(const List& list, const float* x, float* out) noexcept {
  typename Lanes::Register sums[chains][registers];
#pragma GCC unroll 8
  for (std::size_t r = 0; r < registers; ++r) {
    sums[0][r] = Lanes::load(out + r * Lanes::kCount);
#pragma GCC unroll 8
    for (std::size_t chain = 1; chain < chains; ++chain) sums[chain][r] = Lanes::of(0);
  }
  std::size_t i = 0;
  for (; i + chains <= list.count; i += chains) {
#pragma GCC unroll 8
    for (std::size_t chain = 0; chain < chains; ++chain) {
      add_element<Lanes, registers>(list, i + chain, x, sums[chain]);
    }
  }
  for (; i < list.count; ++i) add_element<Lanes, registers>(list, i, x, sums[0]);
#pragma GCC unroll 8
  for (std::size_t r = 0; r < registers; ++r) {
#pragma GCC unroll 8
    for (std::size_t chain = 1; chain < chains; ++chain) {
      sums[0][r] = Lanes::add(sums[0][r], sums[chain][r]);
    }
    Lanes::store(out + r * Lanes::kCount, sums[0][r]);
  }
}

// The product for a batch, in registers that hold it; `most` are free for sums.
template <class Lanes, std::size_t batch, std::size_t most>
[[gnu::always_inline]] inline void list_product_with(const Lists& lists, const float* x,
                                                     float* sums) noexcept {
  constexpr std::size_t registers = batch / Lanes::kCount;
  constexpr std::size_t chains = most / registers < 8 ? most / registers : 8;
  for (std::size_t i = 0; i < lists.count; ++i) {
    add_list<Lanes, registers, chains>(list_at(lists, i), x, sums + i * batch);
  }
}

// The product for every batch. OfN are the registers for a batch of N.
template <std::size_t most, class Of2, class Of4, class Of8, class Of16>
void list_product(const Lists& lists, const float* x, std::size_t batch, float* sums) noexcept {
  if (batch == 2) return list_product_with<Of2, 2, most>(lists, x, sums);
  if (batch == 4) return list_product_with<Of4, 4, most>(lists, x, sums);
  if (batch == 8) return list_product_with<Of8, 8, most>(lists, x, sums);
  if (batch == 16) return list_product_with<Of16, 16, most>(lists, x, sums);
  list_product_with<Of16, 32, most>(lists, x, sums);
}

}  // namespace
}  // namespace prunepack
