// The bitmask layout, AVX2: a byte of mask, looked up in a table, puts eight elements into place.
#include "panel_columns_avx2.h"
#include "places_avx2.h"
#include "tables.h"

namespace prunepack::avx2 {
namespace {

// What a byte of mask stands for, as float32, by an entry of a table, and what that is multiplied
// with. kKinds bytes in turn stand for different lanes, and each of them has sums of its own.
template <class Weights>
struct Eight;

// Eight lanes of one column.
template <>
struct Eight<Float32Weights> {
  static constexpr std::size_t kKinds = 2;
  static constexpr const auto& kTable = kPlaces.of;
  static __m256 weights(const std::uint8_t* entry, const std::uint8_t* values) noexcept {
    return placed(entry, _mm256_castsi256_ps(load(values)));
  }
  // (One load for four columns: loads are what this kernel has most of.)
  template <std::size_t byte>
  static __m256 x(const float* block) noexcept {
    constexpr std::size_t column = byte / kKinds;
    constexpr int i = column % 4;
    return _mm256_permute_ps(
        _mm256_broadcast_ps(reinterpret_cast<const __m128*>(block) + column / 4),
        i | i << 2 | i << 4 | i << 6);
  }
};

template <>
struct Eight<Float16Weights> {
  static constexpr std::size_t kKinds = 2;
  static constexpr const auto& kTable = kPlacesOf2.of;
  static __m256 weights(const std::uint8_t* entry, const std::uint8_t* values) noexcept {
    return _mm256_cvtph_ps(_mm_shuffle_epi8(load_16(values), load_16(entry)));
  }
  template <std::size_t byte>
  static __m256 x(const float* block) noexcept {
    return Eight<Float32Weights>::x<byte>(block);
  }
};

// Both parts of four lanes.
template <>
struct Eight<Bfloat16Weights> {
  static constexpr std::size_t kKinds = 4;
  static constexpr const auto& kTable = kTopsOf2.of;
  static __m256 weights(const std::uint8_t* entry, const std::uint8_t* values) noexcept {
    return _mm256_castsi256_ps(
        _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load_16(values)), load(entry)));
  }
  template <std::size_t byte>
  static __m256 x(const float* block) noexcept {
    return _mm256_castpd_ps(
        _mm256_broadcast_sd(reinterpret_cast<const double*>(block) + byte / kKinds));
  }
};

// The four parts of two lanes.
template <>
struct Eight<Int8Weights> {
  static constexpr std::size_t kKinds = 8;
  static constexpr const auto& kTable = kTopsOf1.of;
  static __m256 weights(const std::uint8_t* entry, const std::uint8_t* values) noexcept {
    const __m256i twice = _mm256_broadcastq_epi64(load_8(values));
    return _mm256_cvtepi32_ps(_mm256_shuffle_epi8(twice, load(entry)));
  }
  template <std::size_t byte>
  static __m256 x(const float* block) noexcept {
    return _mm256_broadcast_ps(reinterpret_cast<const __m128*>(block) + byte / kKinds);
  }
};

// Reads the blocks of a panel by bytes of mask.
template <class Weights>
class MaskBytes {
 public:
  explicit MaskBytes(const std::uint8_t* panel) noexcept : mask_(panel) {}

  // The elements that byte `byte` of a block stands for: each of them must be asked for, in order.
  template <std::size_t byte>
  PRUNEPACK_INLINE __m256 next() noexcept {
    const std::uint8_t* const values = mask_ + kBlockMaskBytes;
    if constexpr (byte * 8 * kWidth % 128 == 0) fetch_ahead<64>(values + count_ * kWidth);
    if constexpr (byte % 8 == 0) std::memcpy(&word_, mask_ + byte, sizeof word_);
    // Rotated so that the byte is the offset of its entry.
    constexpr std::size_t right = (64 + 8 * (byte % 8) - kEntryBits) % 64;
    const std::uint64_t entry = (word_ >> right | word_ << (64 - right) % 64) & std::uint64_t{0xff}
                                                                                    << kEntryBits;
    // Not kTable[0] + entry, which would leave the first row.
    const auto* const table = reinterpret_cast<const std::uint8_t*>(Eight<Weights>::kTable);
    const __m256 weights = Eight<Weights>::weights(table + entry, values + count_ * kWidth);
    count_ += popcount(entry);
    if constexpr (byte + 1 == kBlockMaskBytes) {
      mask_ = values + count_ * kWidth;
      count_ = 0;
    }
    return weights;
  }

 private:
  static constexpr std::size_t kWidth = sizeof(typename Weights::Bits);
  static constexpr std::size_t kEntry = sizeof Eight<Weights>::kTable[0];
  static constexpr std::size_t kEntryBits = kEntry == 8 ? 3 : kEntry == 16 ? 4 : 5;

  const std::uint8_t* mask_;
  std::uint64_t word_ = 0;
  std::size_t count_ = 0;  // of the block's values, those before the next byte
};

// A few rows of activations. A register's parts need not be put into lanes for that.
template <class Weights, std::size_t rows>
void few_rows_by_bytes(const PanelShape& shape, const std::uint8_t* panel, const float* x,
                       float* out) noexcept {
  constexpr std::size_t kKinds = Eight<Weights>::kKinds;
  constexpr std::size_t kSums = kKinds * rows < 8 ? 8 / rows : kKinds;  // as many as take turns
  __m256 sums[rows][kSums];
  repeat<rows * kSums>([&]<std::size_t i>() __attribute__((always_inline)) {
    sums[i / kSums][i % kSums] = _mm256_setzero_ps();
  });
  MaskBytes<Weights> bytes(panel);
  for (std::size_t block = 0; block < shape.blocks; ++block, x += rows * kBlockColumns) {
    repeat<kBlockMaskBytes>([&]<std::size_t byte>() __attribute__((always_inline)) {
      const __m256 weights = bytes.template next<byte>();
      repeat<rows>([&]<std::size_t b>() __attribute__((always_inline)) {
        const __m256 factors = Eight<Weights>::template x<byte>(x + b * kBlockColumns);
        sums[b][byte % kSums] = _mm256_fmadd_ps(weights, factors, sums[b][byte % kSums]);
      });
    });
  }
  for (std::size_t b = 0; b < rows; ++b) {
    constexpr std::size_t kOfLane = 8 * kKinds / kPanelRows;
    float each[kSums * 8];
    for (std::size_t i = 0; i < kSums; ++i) _mm256_storeu_ps(each + 8 * i, sums[b][i]);
    for (std::size_t lane = 0; lane < kPanelRows; ++lane) {
      float sum = 0;
      for (std::size_t i = 0; i < kSums / kKinds * kOfLane; ++i) {
        sum += each[i / kOfLane * 8 * kKinds + lane * kOfLane + i % kOfLane];
      }
      out[b * kPanelRows + lane] = sum * Weights::kScale;
    }
  }
}

// The registers of a panel, for more rows.
template <class Weights>
class Registers {
  using Cells = typename Weights::Cells;
  static constexpr std::size_t kWidth = sizeof(typename Weights::Bits);

 public:
  Registers(const PanelShape&, const std::uint8_t* panel) noexcept : values_(panel) {}

  PRUNEPACK_INLINE Cells next(std::size_t s) noexcept {
    if (s == 0) {
      mask_ = values_;
      values_ += kBlockMaskBytes;
    }
    fetch_ahead<64>(values_);
    if constexpr (kWidth == 4) {
      const __m256i low = eight_words();
      return {{low, eight_words()}};
    } else {
      const __m128i a = sixteen_bytes(), b = sixteen_bytes(), c = sixteen_bytes();
      const __m128i d = sixteen_bytes();
      if constexpr (sizeof(Cells{}.of[0]) == 16)
        return {{a, b, c, d}};
      else
        return {{_mm256_set_m128i(b, a), _mm256_set_m128i(d, c)}};
    }
  }

 private:
  // Where the values of the next byte of mask begin.
  PRUNEPACK_INLINE const std::uint8_t* take(std::uint8_t mask) noexcept {
    const std::uint8_t* const values = values_;
    values_ += popcount(mask) * kWidth;
    return values;
  }
  PRUNEPACK_INLINE __m256i eight_words() noexcept {
    const std::uint8_t mask = *mask_++;
    return _mm256_castps_si256(placed(kPlaces.of[mask], _mm256_castsi256_ps(load(take(mask)))));
  }
  PRUNEPACK_INLINE __m128i eight_bytes() noexcept {
    const std::uint8_t mask = *mask_++;
    return _mm_shuffle_epi8(load_8(take(mask)), load_8(kPlaces.of[mask]));
  }
  PRUNEPACK_INLINE __m128i sixteen_bytes() noexcept {
    if constexpr (kWidth == 1) {
      const __m128i low = eight_bytes();
      return _mm_unpacklo_epi64(low, eight_bytes());
    }
    const std::uint8_t mask = *mask_++;
    return _mm_shuffle_epi8(load_16(take(mask)), load_16(kPlacesOf2.of[mask]));
  }

  const std::uint8_t *mask_ = nullptr, *values_;
};

template <class Weights>
void bitmask(const PanelShape& shape, const std::uint8_t* panel, const void* x,
             void* sums) noexcept {
  const auto* rows = static_cast<const float*>(x);
  auto* out = static_cast<float*>(sums);
  if (shape.batch == 1) return few_rows_by_bytes<Weights, 1>(shape, panel, rows, out);
  if constexpr (Eight<Weights>::kKinds <= 4) {
    if (shape.batch == 2) return few_rows_by_bytes<Weights, 2>(shape, panel, rows, out);
  }
  in_sweeps<Columns<Registers>, Weights>(shape, panel, x, sums);
}

}  // namespace

const PanelProducts panel_bitmask = PRUNEPACK_PER_WEIGHTS(bitmask, nullptr);

}  // namespace prunepack::avx2
