// nm_mask, AVX2: a method for each range of m.
#include "avx2.h"
#include "fetch_ahead.h"
#include "nm_digits_avx2.h"
#include "nm_largest_avx2.h"
#include "nm_search_avx2.h"
#include "nm_sorted_avx2.h"
#include "tables.h"

namespace prunepack::avx2 {
namespace {

// How a register of groups of m is turned by `turn` places inside every group, and the lanes that
// get an element with a lower index than their own.
struct Turn {
  alignas(32) std::uint8_t from[32];  // byte of the same half of the register
  alignas(32) std::uint8_t earlier[32];
};

template <std::size_t bytes, std::size_t m>
constexpr Turn make_turn(std::size_t turn) {
  Turn made{};
  for (std::size_t i = 0; i < 32; ++i) {
    const std::size_t lane = i / bytes, place = lane % m, other = (place + turn) % m;
    made.from[i] = static_cast<std::uint8_t>(((lane - place + other) * bytes + i % bytes) % 16);
    made.earlier[i] = other < place ? 0xff : 0;
  }
  return made;
}

template <std::size_t bytes, std::size_t m, std::size_t turn>
constexpr Turn kTurn = make_turn<bytes, m>(turn);

template <class E, std::size_t m, std::size_t turn>
PRUNEPACK_INLINE __m256i turned(__m256i lanes) noexcept {
  constexpr std::size_t bytes = sizeof(typename E::Bits);
  if constexpr (m * bytes > 16) {
    static_assert(m == 4);
    constexpr int order = _MM_SHUFFLE((3 + turn) % 4, (2 + turn) % 4, (1 + turn) % 4, turn);
    return _mm256_permute4x64_epi64(lanes, order);
  } else {
    return _mm256_shuffle_epi8(lanes, load(kTurn<bytes, m, turn>.from));
  }
}

// All ones where an element beats the one `turn` places on in its group: has a larger key, or the
// same and a higher index.
template <class E, std::size_t m, std::size_t turn>
PRUNEPACK_INLINE __m256i beats(__m256i keys) noexcept {
  using L = typename Ordered<E>::L;
  constexpr std::size_t bytes = sizeof(typename E::Bits);
  const __m256i others = turned<E, m, turn>(keys);
  const __m256i earlier = load(kTurn<bytes, m, turn>.earlier);
  if constexpr (Ordered<E>::kOffset == 128) {  // all 256 values are taken: there is none below
    const __m256i wins_tie = _mm256_and_si256(L::equal(keys, others), earlier);
    return _mm256_or_si256(L::above(keys, others), wins_tie);
  } else {  // a >= b is a > b - 1, and `earlier` is -1
    return L::above(keys, L::add(others, earlier));
  }
}

// The mask of 32 elements in groups of 2 or 4: an element is kept if it beats n others.
template <class E, std::size_t m>
PRUNEPACK_INLINE std::uint32_t turned_word(const typename E::Bits* bits, std::size_t n) noexcept {
  using L = typename Ordered<E>::L;
  using Bits = typename E::Bits;
  // Counts are negative, being sums of masks. With m = 4, an element beats the one before it, which
  // is three places on, if that does not beat the one after it: one more than minus the mask.
  const __m256i enough = L::all(static_cast<Bits>(m == 4 ? 2 - n : 1 - n));
  __m256i kept[sizeof(Bits)];
  for (std::size_t r = 0; r < sizeof(Bits); ++r) {
    const __m256i keys = Ordered<E>::load(bits + r * kStep / sizeof(Bits));
    __m256i beaten = beats<E, m, 1>(keys);
    if constexpr (m == 4) {
      const __m256i before = turned<E, m, 3>(beaten);
      beaten = L::sub(L::add(beaten, beats<E, m, 2>(keys)), before);
    }
    kept[r] = L::above(enough, beaten);
  }
  return signs(kept);
}

template <class E, std::size_t m>
void turned_mask(const typename E::Bits* bits, std::size_t groups, std::size_t n,
                 std::uint8_t* mask) noexcept {
  const std::size_t count = groups * m;
  std::size_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    fetch_ahead<kStep * sizeof(typename E::Bits)>(bits + i);
    const std::uint32_t word = turned_word<E, m>(bits + i, n);
    std::memcpy(mask + i / 8, &word, sizeof word);
  }
  if (i < count) {
    const LastStep<typename E::Bits> last(bits + i, count - i);
    put_last_word(mask + i / 8, turned_word<E, m>(last.elements, n), count - i);
  }
}

// Groups of any m < padded, filled up in front with zeros: those come first and are the smallest,
// so they are pruned before all others. What stands in front of a group are the groups before it,
// so it is copied with those, and they are cleared; where there are not enough, it is copied alone.
template <class E, std::size_t padded>
void padded_mask(const typename E::Bits* bits, std::size_t groups, std::size_t n, std::size_t m,
                 BitStream& mask) noexcept {
  using Bits = typename E::Bits;
  constexpr std::size_t kGroups = padded == 4 ? 8 : 32 / sizeof(Bits);  // in a batch
  const std::size_t zeros = padded - m;
  Bits batch[kGroups * padded] = {};
  Bits own[padded];
  for (std::size_t e = 0; e < padded; ++e)
    own[e] = e < zeros ? Bits{0} : static_cast<Bits>(~Bits{0});
  std::uint8_t batch_mask[kGroups * padded / 8];
  for (std::size_t g = 0; g < groups; g += kGroups) {
    const std::size_t some = groups - g < kGroups ? groups - g : kGroups;
    for (std::size_t i = 0; i < some; ++i) {
      Bits* to = batch + i * padded;
      const Bits* group = bits + (g + i) * m;
      if ((g + i) * m >= zeros) {
        for (std::size_t e = 0; e < padded; ++e) to[e] = (group - zeros)[e] & own[e];
      } else {
        std::memcpy(to + zeros, group, m * sizeof(Bits));
      }
    }
    if constexpr (padded == 4) {
      turned_mask<E, padded>(batch, some, n + zeros, batch_mask);
    } else {
      SortedGroups<E, padded>::mask_of(batch, some, n + zeros, batch_mask);
    }
    for (std::size_t i = 0; i < some; ++i) {
      std::uint64_t group = 0;
      if constexpr (padded == 4) {
        group = batch_mask[i / 2] >> i % 2 * 4 & 15u;
      } else {
        std::memcpy(&group, batch_mask + i * padded / 8, padded / 8);
      }
      group >>= zeros;
      if constexpr (padded == 64) {
        mask.append(static_cast<std::uint32_t>(group), 32);
        mask.append(static_cast<std::uint32_t>(group >> 32), m - 32);
      } else {
        mask.append(static_cast<std::uint32_t>(group), m);
      }
    }
  }
}

template <class E>
void nm_mask_of(const void* weights, std::size_t groups, std::size_t n, std::size_t m,
                std::uint8_t* mask) noexcept {
  const auto* bits = static_cast<const typename E::Bits*>(weights);
  if (n == 0 || n == m) return fill_bits(mask, groups * m, n == 0);
  if (m == 2) return turned_mask<E, 2>(bits, groups, n, mask);
  if (m == 4) return turned_mask<E, 4>(bits, groups, n, mask);
  if constexpr (sizeof(typename E::Bits) <= 4) {
    if (n == 7 && m == 8) return LargestOf8<E>::mask(bits, groups, mask);
  }
  if (m == 8) return SortedGroups<E, 8>::mask_of(bits, groups, n, mask);
  if (m == 16) return SortedGroups<E, 16>::mask_of(bits, groups, n, mask);
  if (m == 32) return SortedGroups<E, 32>::mask_of(bits, groups, n, mask);
  if (m == 64) return SortedGroups<E, 64>::mask_of(bits, groups, n, mask);
  if constexpr (sizeof(typename E::Bits) == 4) {
    if (m >= 128 && m <= ByDigits::kMost) return ByDigits::mask(bits, groups, n, m, mask);
  }

  BitStream stream(mask);
  if (m < 4) {
    padded_mask<E, 4>(bits, groups, n, m, stream);
  } else if (m < 8) {
    padded_mask<E, 8>(bits, groups, n, m, stream);
  } else if (m < 16) {
    padded_mask<E, 16>(bits, groups, n, m, stream);
  } else if (m < 32) {
    padded_mask<E, 32>(bits, groups, n, m, stream);
  } else if (m < 64) {
    padded_mask<E, 64>(bits, groups, n, m, stream);
  } else {
    Searched<E> searched(m, n);
    for (std::size_t g = 0; g < groups; ++g) searched.append_mask(bits + g * m, stream);
  }
  stream.finish();
}

}  // namespace

const PerDtype<NmMask> nm_mask = PRUNEPACK_PER_ELEMENT(nm_mask_of);

}  // namespace prunepack::avx2
