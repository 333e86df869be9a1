// The dense layout, AVX2.
#include "panel_columns_avx2.h"
#include "tables.h"

namespace prunepack::avx2 {
namespace {

template <class Weights>
class Registers {
 public:
  Registers(const PanelShape&, const std::uint8_t* panel) noexcept : next_(panel) {}
  PRUNEPACK_INLINE typename Weights::Cells next(std::size_t) noexcept {
    const std::uint8_t* const at = next_;
    next_ += kRegisterBytes;
    return Weights::load(at);
  }

 private:
  const std::uint8_t* next_;
};

template <class Weights>
void dense(const PanelShape& shape, const std::uint8_t* panel, const void* x, void* sums) noexcept {
  in_sweeps<Columns<Registers>, Weights>(shape, panel, x, sums);
}

}  // namespace

const PanelProducts panel_dense = PRUNEPACK_PER_WEIGHTS(dense, nullptr);

}  // namespace prunepack::avx2
