// compress, expand, apply_mask and count_bits, AVX2: a byte of mask, looked up in a table, moves
// eight elements. (Tables and not pext, which is microcode on Zen 1 and 2.)
#include "avx2.h"
#include "fetch_ahead.h"
#include "line_writer.h"
#include "tables.h"

namespace prunepack::avx2 {
namespace {

// Elements a step moves, with one check of what is left of the values.
constexpr std::size_t kRun = 64;

// Where the elements go, one entry for each mask of 8 (for 64-bit elements, 4): the bytes that a
// shuffle of bytes, or once widened a shuffle of words, takes its indices from. kNone has its top
// bit set, which makes the shuffle of bytes write a zero.
constexpr std::uint8_t kNone = 0x80;

struct Shuffles {
  alignas(64) std::uint8_t of_8bit[256][8];
  alignas(64) std::uint8_t of_8bit_high[256][8];  // the same in the second half of 16 bytes
  alignas(64) std::uint8_t of_16bit[256][16];
  alignas(64) std::uint8_t of_64bit[16][8];  // in pairs of words
};

// `unit` parts of an element, each with an index of its own, counted from part `base` on.
constexpr void set_entry(std::uint8_t* entry, std::size_t to, std::size_t from, std::size_t unit,
                         std::size_t base) {
  for (std::size_t part = 0; part < unit; ++part) {
    entry[to * unit + part] = static_cast<std::uint8_t>(base + from * unit + part);
  }
}

constexpr void fill_entry(std::uint8_t* entry, std::size_t bits, std::size_t count,
                          std::size_t unit, bool compressing, std::size_t base = 0) {
  for (std::size_t i = 0; i < count * unit; ++i) entry[i] = kNone;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if ((bits >> i & 1) == 0) continue;
    compressing ? set_entry(entry, kept, i, unit, base) : set_entry(entry, i, kept, unit, base);
    ++kept;
  }
}

constexpr Shuffles make_shuffles(bool compressing) {
  Shuffles shuffles{};
  for (std::size_t bits = 0; bits < 256; ++bits) {
    fill_entry(shuffles.of_8bit[bits], bits, 8, 1, compressing);
    fill_entry(shuffles.of_8bit_high[bits], bits, 8, 1, compressing, 8);
    fill_entry(shuffles.of_16bit[bits], bits, 8, 2, compressing);
  }
  for (std::size_t bits = 0; bits < 16; ++bits) {
    fill_entry(shuffles.of_64bit[bits], bits, 4, 2, compressing);
  }
  return shuffles;
}

constexpr Shuffles kCompress = make_shuffles(true), kExpand = make_shuffles(false);

__m128i load_8_bytes(const void* from) noexcept {
  return _mm_loadl_epi64(static_cast<const __m128i*>(from));
}
__m128i load_16_bytes(const void* from) noexcept {
  return _mm_loadu_si128(static_cast<const __m128i*>(from));
}
void store_8_bytes(void* to, __m128i bytes) noexcept {
  _mm_storel_epi64(static_cast<__m128i*>(to), bytes);
}
void store_16_bytes(void* to, __m128i bytes) noexcept {
  _mm_storeu_si128(static_cast<__m128i*>(to), bytes);
}

// As floats: GCC stores a double as one that must be aligned.
void store_high_8_bytes(void* to, __m128i bytes) noexcept {
  _mm_storeh_pi(static_cast<__m64*>(to), _mm_castsi128_ps(bytes));
}

// Two times 8 bytes.
__m128i load_halves(const void* low, const void* high) noexcept {
  return _mm_castpd_si128(
      _mm_loadh_pd(_mm_castsi128_pd(load_8_bytes(low)), static_cast<const double*>(high)));
}

// The shuffle of 16 bytes by two bytes of mask.
__m128i shuffle_of_16(const Shuffles& shuffles, unsigned low, unsigned high) noexcept {
  return load_halves(shuffles.of_8bit[low], shuffles.of_8bit_high[high]);
}

// Compresses 8 elements; what is written after those kept is overwritten by the next ones.
void compress_8(const std::uint16_t* in, unsigned bits, std::uint16_t* out) noexcept {
  store_16_bytes(out, _mm_shuffle_epi8(load_16_bytes(in), load_16_bytes(kCompress.of_16bit[bits])));
}

void compress_8(const std::uint32_t* in, unsigned bits, std::uint32_t* out) noexcept {
  const __m256i index = _mm256_cvtepu8_epi32(load_8_bytes(kCompress.of_8bit[bits]));
  store(out, _mm256_permutevar8x32_epi32(load(in), index));
}

void compress_8(const std::uint64_t* in, unsigned bits, std::uint64_t* out) noexcept {
  const __m256i low = _mm256_cvtepu8_epi32(load_8_bytes(kCompress.of_64bit[bits % 16]));
  const __m256i high = _mm256_cvtepu8_epi32(load_8_bytes(kCompress.of_64bit[bits / 16]));
  store(out, _mm256_permutevar8x32_epi32(load(in), low));
  store(out + popcount(bits % 16), _mm256_permutevar8x32_epi32(load(in + 4), high));
}

// Compresses 16 elements by two bytes of mask; returns where those kept end.
template <class Bits>
PRUNEPACK_INLINE Bits* compress_16(const Bits* in, unsigned low, unsigned high,
                                   Bits* out) noexcept {
  compress_8(in, low, out);
  out += popcount(low);
  compress_8(in + 8, high, out);
  return out + popcount(high);
}

PRUNEPACK_INLINE std::uint8_t* compress_16(const std::uint8_t* in, unsigned low, unsigned high,
                                           std::uint8_t* out) noexcept {
  const __m128i halves = _mm_shuffle_epi8(load_16_bytes(in), shuffle_of_16(kCompress, low, high));
  store_8_bytes(out, halves);
  out += popcount(low);
  store_high_8_bytes(out, halves);
  return out + popcount(high);
}

// A register of expanded elements, and how many values they took. As many as there are lanes
// must be in `in`, used or not.
struct Expanded {
  __m256i lanes;
  std::size_t used;
};

// A shuffle of words knows no kNone; widened with its sign, it tells the blend.
__m256i expand_words(const void* in, const std::uint8_t* shuffle) noexcept {
  const __m256i index = _mm256_cvtepi8_epi32(load_8_bytes(shuffle));
  const __m256i words = _mm256_permutevar8x32_epi32(load(in), index);
  return _mm256_castps_si256(_mm256_blendv_ps(_mm256_castsi256_ps(words), _mm256_setzero_ps(),
                                              _mm256_castsi256_ps(index)));
}

// Register `r` of a run whose mask begins at `mask`; `in` is where its values are.
PRUNEPACK_INLINE Expanded expand_register(const std::uint8_t* in, const std::uint8_t* mask,
                                          std::size_t r) noexcept {
  const std::uint8_t* bits = mask + 4 * r;
  const std::size_t first = popcount(bits[0]), second = first + popcount(bits[1]),
                    third = second + popcount(bits[2]);
  const __m128i low =
      _mm_shuffle_epi8(load_halves(in, in + first), shuffle_of_16(kExpand, bits[0], bits[1]));
  const __m128i high = _mm_shuffle_epi8(load_halves(in + second, in + third),
                                        shuffle_of_16(kExpand, bits[2], bits[3]));
  return {_mm256_set_m128i(high, low), third + popcount(bits[3])};
}

PRUNEPACK_INLINE Expanded expand_register(const std::uint16_t* in, const std::uint8_t* mask,
                                          std::size_t r) noexcept {
  const std::uint8_t low = mask[2 * r], high = mask[2 * r + 1];
  const std::size_t first = popcount(low);
  const __m256i values = _mm256_set_m128i(load_16_bytes(in + first), load_16_bytes(in));
  const __m256i shuffle =
      _mm256_set_m128i(load_16_bytes(kExpand.of_16bit[high]), load_16_bytes(kExpand.of_16bit[low]));
  return {_mm256_shuffle_epi8(values, shuffle), first + popcount(high)};
}

PRUNEPACK_INLINE Expanded expand_register(const std::uint32_t* in, const std::uint8_t* mask,
                                          std::size_t r) noexcept {
  return {expand_words(in, kExpand.of_8bit[mask[r]]), popcount(mask[r])};
}

PRUNEPACK_INLINE Expanded expand_register(const std::uint64_t* in, const std::uint8_t* mask,
                                          std::size_t r) noexcept {
  const unsigned bits = mask[r / 2] >> r % 2 * 4 & 15u;
  return {expand_words(in, kExpand.of_64bit[bits]), popcount(bits)};
}

// The 64 bits of a mask that begin at element i, or as many as there are.
std::uint64_t word_at(const std::uint8_t* mask, std::size_t i, std::size_t count) noexcept {
  std::uint64_t word = 0;
  if (count - i >= 64) {
    std::memcpy(&word, mask + i / 8, sizeof word);
    return word;
  }
  std::memcpy(&word, mask + i / 8, (count - i + 7) / 8);
  return word & ((std::uint64_t{1} << (count - i)) - 1);
}

// Returns where those kept end.
template <class Bits>
Bits* compress_to(Bits* out, std::size_t room, const Bits* in, const std::uint8_t* mask,
                  std::size_t count) noexcept {
  const Bits* end = out + room;
  std::size_t i = 0;
  for (; i + kRun <= count && static_cast<std::size_t>(end - out) >= kRun; i += kRun) {
    const std::uint8_t* bytes = mask + i / 8;
#pragma GCC unroll 4
    for (std::size_t run = 0; run < kRun; run += 16) {
      out = compress_16(in + i + run, bytes[run / 8], bytes[run / 8 + 1], out);
    }
  }
  // Near the end of the values, one by one.
  for (; i < count && out < end; i += 64) {
    for (std::uint64_t word = word_at(mask, i, count); word != 0; word = _blsr_u64(word)) {
      *out++ = in[i + static_cast<std::size_t>(_tzcnt_u64(word))];
    }
  }
  return out;
}

struct Steps {
  static constexpr std::size_t kElements = kRun;

  template <class Bits>
  static constexpr auto compress = compress_to<Bits>;

  static void stream_line(const std::uint8_t* from, std::uint8_t* to) noexcept {
    auto* const halves = reinterpret_cast<__m256i*>(to);
    _mm256_stream_si256(halves, load(from));
    _mm256_stream_si256(halves + 1, load(from + 32));
  }

  // Streamed stores are not ordered with what tells others that they are done.
  static void order_streams() noexcept { _mm_sfence(); }
};

template <class Bits, bool streams>
void expand_by(const std::uint8_t* mask, const void* values, std::size_t kept, std::size_t count,
               void* weights) noexcept {
  constexpr std::size_t kLanes = 32 / sizeof(Bits);
  const auto* in = static_cast<const Bits*>(values);
  auto* out = static_cast<Bits*>(weights);
  const Bits* end = in + kept;
  std::size_t i = 0;
  for (; i + kRun <= count && static_cast<std::size_t>(end - in) >= kRun; i += kRun) {
    fetch_ahead<kRun * sizeof(Bits) / 2>(in);
#pragma GCC unroll 16
    for (std::size_t r = 0; r < kRun / kLanes; ++r) {
      const Expanded expanded = expand_register(in, mask + i / 8, r);
      Bits* const to = out + i + r * kLanes;
      if constexpr (streams) {
        _mm256_stream_si256(reinterpret_cast<__m256i*>(to), expanded.lanes);
      } else {
        store(to, expanded.lanes);
      }
      in += expanded.used;
    }
  }
  // Near the end of the values, one by one.
  if (i < count) std::memset(out + i, 0, (count - i) * sizeof(Bits));
  for (; i < count && in < end; i += 64) {
    for (std::uint64_t word = word_at(mask, i, count); word != 0 && in < end;
         word = _blsr_u64(word)) {
      out[i + static_cast<std::size_t>(_tzcnt_u64(word))] = *in++;
    }
  }
}

template <class Bits>
void expand_of(const std::uint8_t* mask, const void* values, std::size_t kept, std::size_t count,
               void* weights) noexcept {
  expand_by<Bits, false>(mask, values, kept, count, weights);
}

template <class Bits>
void expand_stream_of(const std::uint8_t* mask, const void* values, std::size_t kept,
                      std::size_t count, void* weights) noexcept {
  expand_by<Bits, true>(mask, values, kept, count, weights);
  Steps::order_streams();
}

// All ones in the lanes whose bit is 1. `bits` are those of the register, repeated in every lane.
template <std::size_t bytes>
__m256i lanes_of(std::uint32_t bits) noexcept {
  using L = Lanes<bytes>;
  __m256i select, all;
  if constexpr (bytes == 1) {
    const __m256i spread =
        _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    all = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(bits)), spread);
    select = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201));
  } else if constexpr (bytes == 2) {
    all = _mm256_set1_epi16(static_cast<short>(bits));
    select = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384,
                               -32768);
  } else if constexpr (bytes == 4) {
    all = _mm256_set1_epi32(static_cast<int>(bits));
    select = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  } else {
    all = _mm256_set1_epi64x(static_cast<long long>(bits));
    select = _mm256_setr_epi64x(1, 2, 4, 8);
  }
  return L::equal(_mm256_and_si256(all, select), select);
}

template <class Bits>
void apply_mask_of(const void* weights, const std::uint8_t* mask, std::size_t count,
                   void* out) noexcept {
  constexpr std::size_t kLanes = 32 / sizeof(Bits);
  const auto* from = static_cast<const Bits*>(weights);
  auto* to = static_cast<Bits*>(out);
  std::size_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    std::uint32_t word;
    std::memcpy(&word, mask + i / 8, sizeof word);
    for (std::size_t lane = 0; lane < kStep; lane += kLanes) {
      const __m256i kept = lanes_of<sizeof(Bits)>(word >> lane);
      store(to + i + lane, _mm256_and_si256(kept, load(from + i + lane)));
    }
  }
  for (; i < count; ++i) to[i] = mask[i / 8] >> i % 8 & 1 ? from[i] : Bits{0};
}

}  // namespace

const PerDtype<Compress> compress = PRUNEPACK_PER_WIDTH(Compression<Steps>::to_memory);
const PerDtype<CompressStream> compress_stream =
    PRUNEPACK_PER_WIDTH(Compression<Steps>::past_caches);
const PerDtype<Expand> expand = PRUNEPACK_PER_WIDTH(expand_of);
const PerDtype<ExpandStream> expand_stream = PRUNEPACK_PER_WIDTH(expand_stream_of);
const PerDtype<ApplyMask> apply_mask = PRUNEPACK_PER_WIDTH(apply_mask_of);

std::size_t count_bits(const std::uint8_t* mask, std::size_t bytes) noexcept {
  // Four sums, so that none waits for another.
  std::size_t set[4] = {};
  for (; bytes >= 32; bytes -= 32, mask += 32) {
    std::uint64_t words[4];
    std::memcpy(words, mask, sizeof words);
    for (std::size_t i = 0; i < 4; ++i) set[i] += popcount(words[i]);
  }
  for (; bytes > 0; --bytes) set[0] += popcount(*mask++);
  return set[0] + set[1] + set[2] + set[3];
}

}  // namespace prunepack::avx2
