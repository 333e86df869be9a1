// nm_bands, AVX-512.
#include "avx512.h"
#include "nm_bands.h"
#include "tables.h"

namespace prunepack::avx512 {
namespace {

template <class E>
class Compare {
 public:
  using Bits = typename E::Bits;
  using Word = std::uint64_t;
  static constexpr std::size_t kStep = 64;

  explicit Compare(const Bits* weights) noexcept : keys_(keys_of(weights)) {}

  Word beats(const Bits* others) const noexcept {
    const Run64<Bits> keys = keys_of(others);
    MaskOf<Bits> beats[Run64<Bits>::kRegisters];
    for (std::size_t r = 0; r < Run64<Bits>::kRegisters; ++r) {
      beats[r] = LanesOf<Bits>::above(keys_.registers[r], keys.registers[r]);
    }
    return join<Bits>(beats);
  }

 private:
  static Run64<Bits> keys_of(const Bits* weights) noexcept {
    return Run64<Bits>::load(weights).template keys<E>();
  }

  Run64<Bits> keys_;
};

template <class E>
constexpr NmBands kNmBandsOf = &write_bands<Compare<E>>;

}  // namespace

const PerDtype<NmBands> nm_bands = PRUNEPACK_PER_ELEMENT(kNmBandsOf);

}  // namespace prunepack::avx512
