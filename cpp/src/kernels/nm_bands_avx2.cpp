// nm_bands, AVX2.
#include "avx2.h"
#include "nm_bands.h"
#include "tables.h"

namespace prunepack::avx2 {
namespace {

template <class E>
class Compare {
 public:
  using Bits = typename E::Bits;
  using Word = std::uint32_t;
  static constexpr std::size_t kStep = avx2::kStep;

  explicit Compare(const Bits* weights) noexcept {
    for (std::size_t r = 0; r < sizeof(Bits); ++r) keys_[r] = Ordered<E>::load(at(weights, r));
  }

  Word beats(const Bits* others) const noexcept {
    __m256i beats[sizeof(Bits)];
    for (std::size_t r = 0; r < sizeof(Bits); ++r) {
      beats[r] = Ordered<E>::L::above(keys_[r], Ordered<E>::load(at(others, r)));
    }
    return signs(beats);
  }

 private:
  static const Bits* at(const Bits* weights, std::size_t r) noexcept {
    return weights + r * kStep / sizeof(Bits);
  }

  __m256i keys_[sizeof(Bits)];
};

template <class E>
constexpr NmBands kNmBandsOf = &write_bands<Compare<E>>;

}  // namespace

const PerDtype<NmBands> nm_bands = PRUNEPACK_PER_ELEMENT(kNmBandsOf);

}  // namespace prunepack::avx2
