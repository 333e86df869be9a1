// The nm4 and nm16 layouts, AVX2: positions pick each lane's activations out of a register.
#include "panels_avx2.h"
#include "tables.h"

namespace prunepack::avx2 {
namespace {

// A register's positions: in every cell those of its lane, part p from bit p * 32 / parts.
template <std::size_t parts, std::size_t bits>
class Positions {
 public:
  PRUNEPACK_INLINE explicit Positions(const std::uint8_t* from) noexcept {
    constexpr std::size_t bytes = position_bytes(parts, bits);
    if constexpr (bytes == 4) {
      packed_ = _mm256_set1_epi32(number_at<std::int32_t>(from));
    } else if constexpr (bytes == 8) {
      packed_ = _mm256_set1_epi64x(number_at<std::int64_t>(from));
    } else if constexpr (bytes == 16) {
      packed_ =
          _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    } else {
      packed_ = load(from);
    }
  }

  template <std::size_t p, std::size_t h>
  PRUNEPACK_INLINE __m256i part() const noexcept {
    constexpr auto shift = [](std::size_t lane) {
      const PositionPlace place = position_place(parts, bits, h * kHalfLanes + lane, p);
      return static_cast<int>(place.byte % 4 * 8 + place.shift);
    };
    return _mm256_srlv_epi32(packed_, _mm256_setr_epi32(shift(0), shift(1), shift(2), shift(3),
                                                        shift(4), shift(5), shift(6), shift(7)));
  }

 private:
  __m256i packed_;
};

// Picks activations of a group by positions, of which the upper bits are anything.
template <std::size_t group>
struct Picked;

template <>
struct Picked<4> {
  static constexpr std::size_t kBits = 2;
  __m256i positions;
  PRUNEPACK_INLINE explicit Picked(__m256i given) noexcept : positions(given) {}
  PRUNEPACK_INLINE __m256 from(const float* x) const noexcept {
    return _mm256_permutevar_ps(_mm256_broadcast_ps(reinterpret_cast<const __m128*>(x)), positions);
  }
};

template <>
struct Picked<16> {
  static constexpr std::size_t kBits = 4;
  __m256i positions;
  __m256 in_upper;  // sign bits
  PRUNEPACK_INLINE explicit Picked(__m256i given) noexcept
      : positions(given), in_upper(_mm256_castsi256_ps(_mm256_slli_epi32(given, 28))) {}
  PRUNEPACK_INLINE __m256 from(const float* x) const noexcept {
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(_mm256_load_ps(x), positions),
                            _mm256_permutevar8x32_ps(_mm256_load_ps(x + 8), positions), in_upper);
  }
};

// Where a panel's next register and its positions are, and sums of the products so far.
template <std::size_t group, class Weights, std::size_t rows>
struct NmSums {
  static constexpr std::size_t parts = Weights::kParts, bits = Picked<group>::kBits;
  const std::uint8_t* next;
  const std::uint8_t* positions = next;
  Sums<rows> sums{};

  void begin_chunk(std::size_t kept) noexcept {
    positions = next;
    next += chunk_position_bytes(group, kept);
  }

  // Adds a register. The groups of its parts begin `step` apart in x.
  template <std::size_t chain>
  PRUNEPACK_INLINE void add_register(const float* x, std::size_t step) noexcept {
    fetch_ahead<64>(next);
    const Positions<parts, bits> picks(positions);
    const typename Weights::Cells cells = Weights::load(next);
    repeat<parts * kHalves>([&]<std::size_t i>() __attribute__((always_inline)) {
      constexpr std::size_t p = i / kHalves, h = i % kHalves;
      const __m256 weights = Weights::template part<p, h>(cells);
      const Picked<group> picked(picks.template part<p, h>());
      repeat<rows>([&]<std::size_t b>() __attribute__((always_inline)) {
        sums.template add<h>(p + chain, b, weights, picked.from(x + p * step + b * kBlockColumns));
      });
    });
    positions += position_bytes(parts, bits);
    next += kRegisterBytes;
  }
};

template <std::size_t group>
struct Nm {
  // `kept` is that of the shape, or 0.
  template <class Weights, std::size_t rows, std::size_t kept>
  static void run_for(const PanelShape& shape, const std::uint8_t* panel, const float* x,
                      float* out) noexcept {
    constexpr std::size_t parts = Weights::kParts, kGroups = kBlockColumns / group;
    const std::size_t stride = shape.batch * kBlockColumns;
    const std::size_t step = kGroups == 1 ? stride : group;
    NmSums<group, Weights, rows> s{panel};
    for (std::size_t first = 0; first < shape.blocks * kGroups; first += kChunkBlocks) {
      if (first % (kChunkBlocks * kGroups) == 0) s.begin_chunk(shape.kept);
      repeat<kChunkBlocks / parts>([&]<std::size_t i>() __attribute__((always_inline)) {
        const std::size_t g = first + i * parts;
        const float* const x_of = x + g / kGroups * stride + g % kGroups * group;
        repeat<kept>([&]<std::size_t j>() __attribute__((always_inline)) {
          s.template add_register<i * kept + j>(x_of, step);
        });
        if constexpr (kept == 0) {
          for (std::size_t pair = 0; pair < shape.kept / 2; ++pair) {
            s.template add_register<0>(x_of, step);
            s.template add_register<1>(x_of, step);
          }
          if (shape.kept % 2 != 0) s.template add_register<0>(x_of, step);
        }
      });
    }
    s.sums.store(out, Weights::kScale);
  }

  template <class Weights, std::size_t rows>
  static void run(const PanelShape& shape, const std::uint8_t* panel, const float* x,
                  float* out) noexcept {
    if (shape.kept == 1) return run_for<Weights, rows, 1>(shape, panel, x, out);
    if (shape.kept == 2) return run_for<Weights, rows, 2>(shape, panel, x, out);
    run_for<Weights, rows, 0>(shape, panel, x, out);
  }
};

template <class Weights>
void nm4(const PanelShape& shape, const std::uint8_t* panel, const void* x, void* sums) noexcept {
  in_sweeps<Nm<4>, Weights>(shape, panel, x, sums);
}

template <class Weights>
void nm16(const PanelShape& shape, const std::uint8_t* panel, const void* x, void* sums) noexcept {
  in_sweeps<Nm<16>, Weights>(shape, panel, x, sums);
}

}  // namespace

const PanelProducts panel_nm4 = PRUNEPACK_PER_WEIGHTS(nm4, nullptr);
const PanelProducts panel_nm16 = PRUNEPACK_PER_WEIGHTS(nm16, nullptr);

}  // namespace prunepack::avx2
