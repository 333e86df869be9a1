// The dense and the bitmask layout, AVX-512: register after register, loaded or expanded.
#include "panels_avx512.h"
#include "tables.h"

namespace prunepack::avx512 {
namespace {

// The registers of a dense panel. next(s) is called for s = 0 ... of every block in turn.
template <class Weights>
class DenseRegisters {
 public:
  DenseRegisters(const PanelShape&, const std::uint8_t* panel) noexcept : next_(panel) {}

  void begin_block() noexcept {}
  __m512i next(std::size_t) noexcept {
    fetch_ahead<1>(next_);
    const __m512i cells = _mm512_loadu_si512(next_);
    next_ += 64;
    return cells;
  }

 private:
  const std::uint8_t* next_;
};

// A mask from memory: moving it from a general register is slow, and what GCC 12 would do.
template <class Mask>
Mask mask_at(const Mask* mask) noexcept {
  Mask k;
  if constexpr (sizeof(Mask) == 2) asm("kmovw %1, %0" : "=k"(k) : "m"(*mask));
  if constexpr (sizeof(Mask) == 4) asm("kmovd %1, %0" : "=k"(k) : "m"(*mask));
  if constexpr (sizeof(Mask) == 8) asm("kmovq %1, %0" : "=k"(k) : "m"(*mask));
  return k;
}

template <class Weights>
class BitmaskRegisters {
  using Bits = typename Weights::Bits;
  using Mask = MaskOf<Bits>;
  static constexpr std::size_t kInWord = 64 / kLanes<Bits>;  // registers whose masks fill a word

 public:
  BitmaskRegisters(const PanelShape& shape, const std::uint8_t* panel) noexcept
      : masks_(panel - 32),
        values_(reinterpret_cast<const Bits*>(panel + bitmask_values_at(shape.blocks))) {}

  void begin_block() noexcept {
    masks_ += 32;
    fetch_ahead<8>(values_);
  }
  __m512i next(std::size_t s) noexcept {
    const std::uint64_t word = load_word(masks_ + s / kInWord * 8);
    const auto* mask = reinterpret_cast<const Mask*>(masks_) + s;
    const std::size_t before = popcount(word & first_bits(s % kInWord * kLanes<Bits>));
    const __m512i cells = LanesOf<Bits>::expand(mask_at(mask), values_ + before);
    if (s % kInWord == kInWord - 1) values_ += popcount(word);
    return cells;
  }

 private:
  const std::uint8_t* masks_;  // of the block
  const Bits* values_;
};

// Adds the parts from p on of register s of a block, times their columns of the activations.
template <class Weights, std::size_t p, std::size_t batch>
void add_parts(__m512i cells, std::size_t s, const float* x, Sums<batch>& sums) noexcept {
  if constexpr (p < Weights::kParts) {
    const __m512 weights = Weights::template part<p>(cells);
    const std::size_t column = s * Weights::kParts + p;
#pragma GCC unroll 16
    for (std::size_t b = 0; b < batch; ++b) {
      __m512& sum = sums.of[column % Sums<batch>::kChains][b];
      sum = _mm512_fmadd_ps(weights, _mm512_set1_ps(x[b * kBlockColumns + column]), sum);
    }
    add_parts<Weights, p + 1>(cells, s, x, sums);
  }
}

template <class Weights, class Registers>
void product_of(const PanelShape& shape, const std::uint8_t* panel, const void* activations,
                void* out) noexcept {
  for_batch(shape.batch, [&](auto rows) noexcept {
    constexpr std::size_t batch = decltype(rows)::value;
    const auto* x = static_cast<const float*>(activations);
    Registers registers(shape, panel);
    Sums<batch> sums;
    sums.clear();
    for (std::size_t block = 0; block < shape.blocks; ++block) {
      registers.begin_block();
#pragma GCC unroll 16
      for (std::size_t s = 0; s < kBlockColumns / Weights::kParts; ++s) {
        add_parts<Weights, 0>(registers.next(s), s, x, sums);
      }
      x += batch * kBlockColumns;
    }
    sums.store(out);
  });
}

template <class Weights>
void dense_of(const PanelShape& shape, const std::uint8_t* panel, const void* x,
              void* sums) noexcept {
  product_of<Weights, DenseRegisters<Weights>>(shape, panel, x, sums);
}

template <class Weights>
void bitmask_of(const PanelShape& shape, const std::uint8_t* panel, const void* x,
                void* sums) noexcept {
  product_of<Weights, BitmaskRegisters<Weights>>(shape, panel, x, sums);
}

}  // namespace

const PanelProducts panel_dense = PRUNEPACK_FLOAT_PRODUCTS(dense_of);
const PanelProducts panel_bitmask = PRUNEPACK_FLOAT_PRODUCTS(bitmask_of);

}  // namespace prunepack::avx512
