// Dot products of lists and one row of activations, for registers of any ISA. In an unnamed
// namespace; key.h says why.
//
// `Lanes` are a few elements at once, kCount of them: zero, add, the sum of all lanes,
// add_products(sums, values, columns, x), and products(values, columns, x, count), which are zeros
// but for the first `count` ones, from -kCount to 2 * kCount.
#pragma once

#include <cstddef>
#include <cstring>

#include "list_spans.h"

namespace prunepack {
namespace {

// What list_dots_of adds up at a time.
template <class Lanes>
constexpr std::size_t kTwice = 2 * Lanes::kCount;

// The dot product of `count` elements. Unless they are at the end, kTwice more may be read.
template <class Lanes, std::size_t width, bool at_end>
[[gnu::always_inline]] inline float dot_of(const std::uint16_t* columns, const std::uint8_t* values,
                                           std::size_t count, const float* x) noexcept {
  constexpr std::size_t half = Lanes::kCount, step = kTwice<Lanes>;
  typename Lanes::Register even = Lanes::zero(), odd = Lanes::zero();
  for (; count >= step; count -= step, values += step * width, columns += step) {
    even = Lanes::add_products(even, values, columns, x);
    odd = Lanes::add_products(odd, values + half * width, columns + half, x);
  }
  [[maybe_unused]] std::uint8_t last_values[step * width] = {};
  [[maybe_unused]] std::uint16_t last_columns[step] = {};
  if constexpr (at_end) {
    std::memcpy(last_values, values, count * width);
    std::memcpy(last_columns, columns, count * sizeof *columns);
    values = last_values;
    columns = last_columns;
  }
  // The rest takes the same way however long it is: where lists are short, a branch that the
  // processor cannot foresee costs more than products with nothing.
  const auto left = static_cast<std::ptrdiff_t>(count);
  even = Lanes::add(even, Lanes::products(values, columns, x, left));
  odd = Lanes::add(odd, Lanes::products(values + half * width, columns + half, x,
                                        left - static_cast<std::ptrdiff_t>(half)));
  return Lanes::sum(Lanes::add(even, odd));
}

// The same, bit by bit, where nothing behind them may be read: where a list ends up at the end
// depends on how rows are shared out among threads.
template <class Lanes, std::size_t width>
[[gnu::noinline, gnu::cold]] float last_dot_of(const std::uint16_t* columns,
                                               const std::uint8_t* values, std::size_t count,
                                               const float* x) noexcept {
  return dot_of<Lanes, width, true>(columns, values, count, x);
}

template <class Lanes, std::size_t width>
void list_dots_of(const Lists& lists, const float* x, float* sums) noexcept {
  const auto* const values = static_cast<const std::uint8_t*>(lists.values);
  for (std::size_t i = 0; i < lists.count; ++i) {
    const ListSpan list(lists, i);
    const std::uint16_t* const columns = lists.columns + list.begin;
    const std::uint8_t* const from = values + list.begin * width;
    const std::size_t count = list.end - list.begin;
    const bool at_end = list.end + kTwice<Lanes> > lists.readable;
    sums[i] += at_end ? last_dot_of<Lanes, width>(columns, from, count, x)
                      : dot_of<Lanes, width, false>(columns, from, count, x);
  }
}

}  // namespace
}  // namespace prunepack

// The dots of every dtype that a layer computes with; Lanes<dtype> are those of its values.
#define PRUNEPACK_LIST_DOTS(Lanes)                                                         \
  {                                                                                        \
    {                                                                                      \
      nullptr, nullptr, list_dots_of<Lanes<Dtype::int8>, 1>, nullptr,                      \
          list_dots_of<Lanes<Dtype::float16>, 2>, list_dots_of<Lanes<Dtype::bfloat16>, 2>, \
          list_dots_of<Lanes<Dtype::float32>, 4>, nullptr                                  \
    }                                                                                      \
  }
