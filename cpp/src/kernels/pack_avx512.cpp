// compress, expand, apply_mask and count_bits, AVX-512: a word of the mask a step.
#include "avx512.h"
#include "fetch_ahead.h"
#include "line_writer.h"
#include "tables.h"

namespace prunepack::avx512 {
namespace {

// Where the elements of register r of a run begin among the kept ones: counted from the word's own
// low bits, so that no register waits for the one before it.
template <class Bits>
std::size_t kept_before(std::uint64_t word, std::size_t r) noexcept {
  return popcount(word & first_bits(r * kLanes<Bits>));
}

template <class Bits>
MaskOf<Bits> lanes_of(std::uint64_t word, std::size_t r) noexcept {
  return static_cast<MaskOf<Bits>>(word >> (r * kLanes<Bits>));
}

// The mask of register r, from memory: moving it from a general register is slow.
template <class Bits>
MaskOf<Bits> stored_lanes(const std::uint8_t* mask, std::size_t r) noexcept {
  MaskOf<Bits> lanes;
  std::memcpy(&lanes, mask + r * sizeof lanes, sizeof lanes);
  return lanes;
}

// Full stores that run over into what the next ones will write.
template <class Bits>
void compress_run(const Bits* in, const std::uint8_t* mask, std::uint64_t word,
                  Bits* out) noexcept {
  for (std::size_t r = 0; r < Run64<Bits>::kRegisters; ++r) {
    const __m512i elements = _mm512_loadu_si512(in + r * kLanes<Bits>);
    _mm512_storeu_si512(out + kept_before<Bits>(word, r),
                        LanesOf<Bits>::compress(stored_lanes<Bits>(mask, r), elements));
  }
}

// Stores of exactly what is kept.
template <class Bits>
void compress_last(const Run64<Bits>& run, std::uint64_t word, Bits* out) noexcept {
  for (std::size_t r = 0; r < Run64<Bits>::kRegisters; ++r) {
    const auto lanes = lanes_of<Bits>(word, r);
    LanesOf<Bits>::store(out + kept_before<Bits>(word, r), first_lanes<Bits>(popcount(lanes)),
                         LanesOf<Bits>::compress(lanes, run.registers[r]));
  }
}

// Returns where those kept end.
template <class Bits>
Bits* compress_to(Bits* out, std::size_t room, const Bits* in, const std::uint8_t* mask,
                  std::size_t count) noexcept {
  const Bits* const last_full = room >= 64 ? out + room - 64 : nullptr;

  std::size_t i = 0;
  for (; i + 64 <= count && last_full != nullptr && out <= last_full; i += 64) {
    const std::uint64_t word = load_word(mask + i / 8);
    compress_run(in + i, mask + i / 8, word, out);
    out += popcount(word);
  }
  for (; i + 64 <= count; i += 64) {
    const std::uint64_t word = load_word(mask + i / 8);
    compress_last(Run64<Bits>::load(in + i), word, out);
    out += popcount(word);
  }
  if (const std::size_t rest = count - i; rest > 0) {
    const std::uint64_t word = load_word(mask + i / 8, rest);
    compress_last(Run64<Bits>::load(in + i, rest), word, out);
    out += popcount(word);
  }
  return out;
}

struct Steps {
  static constexpr std::size_t kElements = 64;

  template <class Bits>
  static constexpr auto compress = compress_to<Bits>;

  static void stream_line(const std::uint8_t* from, std::uint8_t* to) noexcept {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to), _mm512_load_si512(from));
  }

  // Streamed stores are not ordered with what tells others that they are done.
  static void order_streams() noexcept { _mm_sfence(); }
};

template <class Bits, bool streams>
void expand_by(const std::uint8_t* mask, const void* values, std::size_t kept, std::size_t count,
               void* weights) noexcept {
  const auto* in = static_cast<const Bits*>(values);
  const Bits* const end = in + kept;
  auto* out = static_cast<Bits*>(weights);
  std::size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    const std::uint64_t word = load_word(mask + i / 8);
    if (popcount(word) > static_cast<std::size_t>(end - in)) return;
    fetch_ahead<sizeof word, 512>(mask + i / 8);
    fetch_ahead<64 * sizeof(Bits) / 2, 1024>(in);
    for (std::size_t r = 0; r < Run64<Bits>::kRegisters; ++r) {
      const auto lanes = stored_lanes<Bits>(mask + i / 8, r);
      const __m512i elements = LanesOf<Bits>::expand(lanes, in + kept_before<Bits>(word, r));
      Bits* const to = out + i + r * kLanes<Bits>;
      if constexpr (streams) {
        _mm512_stream_si512(reinterpret_cast<__m512i*>(to), elements);
      } else {
        _mm512_storeu_si512(to, elements);
      }
    }
    in += popcount(word);
  }
  for (std::size_t r = 0; i < count; i += kLanes<Bits>, ++r) {
    const std::size_t rest = count - i < kLanes<Bits> ? count - i : kLanes<Bits>;
    const std::uint64_t word = load_word(mask + (count - count % 64) / 8, count % 64);
    if (popcount(word) > static_cast<std::size_t>(end - in)) return;
    LanesOf<Bits>::store(
        out + i, first_lanes<Bits>(rest),
        LanesOf<Bits>::expand(lanes_of<Bits>(word, r), in + kept_before<Bits>(word, r)));
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

template <class Bits>
void apply_mask_of(const void* weights, const std::uint8_t* mask, std::size_t count,
                   void* out) noexcept {
  const auto* from = static_cast<const Bits*>(weights);
  auto* to = static_cast<Bits*>(out);
  std::size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    for (std::size_t r = 0; r < Run64<Bits>::kRegisters; ++r) {
      const auto lanes = stored_lanes<Bits>(mask + i / 8, r);
      const std::size_t at = i + r * kLanes<Bits>;
      _mm512_storeu_si512(to + at, LanesOf<Bits>::load(lanes, from + at));
    }
  }
  for (std::size_t r = 0; i < count; i += kLanes<Bits>, ++r) {
    const std::size_t rest = count - i < kLanes<Bits> ? count - i : kLanes<Bits>;
    const std::uint64_t word = load_word(mask + (count - count % 64) / 8, count % 64);
    LanesOf<Bits>::store(to + i, first_lanes<Bits>(rest),
                         LanesOf<Bits>::load(lanes_of<Bits>(word, r), from + i));
  }
}

}  // namespace

const PerDtype<Compress> compress = PRUNEPACK_PER_WIDTH(Compression<Steps>::to_memory);
const PerDtype<CompressStream> compress_stream =
    PRUNEPACK_PER_WIDTH(Compression<Steps>::past_caches);
const PerDtype<Expand> expand = PRUNEPACK_PER_WIDTH(expand_of);
const PerDtype<ExpandStream> expand_stream = PRUNEPACK_PER_WIDTH(expand_stream_of);
const PerDtype<ApplyMask> apply_mask = PRUNEPACK_PER_WIDTH(apply_mask_of);

std::size_t count_bits(const std::uint8_t* mask, std::size_t bytes) noexcept {
  std::size_t sums[4] = {};  // four sums, because each popcount waits for the one it is added to
  for (; bytes >= 32; bytes -= 32, mask += 32) {
    for (std::size_t j = 0; j < 4; ++j) sums[j] += popcount(load_word(mask + 8 * j));
  }
  for (; bytes >= 8; bytes -= 8, mask += 8) sums[0] += popcount(load_word(mask));
  if (bytes > 0) sums[1] += popcount(load_word(mask, 8 * bytes));
  return sums[0] + sums[1] + sums[2] + sums[3];
}

}  // namespace prunepack::avx512
