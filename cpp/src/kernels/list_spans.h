// Where each of several lists lies among their elements. In an unnamed namespace; key.h says why.
#pragma once

#include <cstddef>

#include "prunepack/lists.h"

namespace prunepack {
namespace {

// The elements of list i.
struct ListSpan {
  ListSpan(const Lists& lists, std::size_t i) noexcept
      : begin(lists.begins[i * lists.stride] - lists.begins[0]),
        end(lists.begins[i * lists.stride + 1] - lists.begins[0]) {}

  std::size_t begin, end;
};

}  // namespace
}  // namespace prunepack
