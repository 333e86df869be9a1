#include "product_form.h"

#include "prunepack/kernels.h"

namespace prunepack {
namespace {

// Time is counted in multiply-adds of the dense kernel with float32 activations, for each element
// of the matrix, kept or not, and each register of activations. Measured on Zen 4. NEON and scalar
// are taken to be like AVX2 once was, when it listed bit by bit as they do.
struct ListCosts {
  double product;   // of an element kept
  double listing;   // of an element, once for all of the batch
  double widening;  // of an element kept, once, where it is not float32
};

ListCosts costs_of(Isa isa) {
  if (isa == Isa::avx512) return {2.4, 1.5, 13};
  if (isa == Isa::avx2) return {2.3, 3, 5};
  return {2.3, 5, 20};
}

double elements_of(const Prepared& matrix) {
  return static_cast<double>(matrix.rows) * static_cast<double>(matrix.columns);
}

double time_of_lists(const Kernels& kernels, const Prepared& matrix, std::size_t batch) {
  const ListCosts costs = costs_of(kernels.isa);
  const double kept = static_cast<double>(matrix.row_offsets.back()) / elements_of(matrix);
  const double widening = width(matrix.dtype) < sizeof(float) ? costs.widening * kept : 0;
  return costs.product * kept + (costs.listing + widening) / static_cast<double>(batch);
}

// How much faster the dense kernel is with activations of the weights' dtype.
double gain_of_dots(const Kernels& kernels, Layout layout, Activations activations) {
  if (activations == Activations::bfloat16 &&
      panel_product(kernels, layout, Product::bfloat16_bfloat16) != nullptr) {
    return 2;
  }
  if (activations == Activations::int8 &&
      panel_product(kernels, layout, Product::int8_int8) != nullptr) {
    return 3.5;
  }
  return 1;
}

// Of many rows of activations, with the panels or with dense ones made of them.
double time_of_panels(const Kernels& kernels, const Prepared& matrix, Activations activations) {
  const auto time_of_kept = [&](double group) {
    return 2 * static_cast<double>(matrix.kept) / group;
  };
  const double dots = gain_of_dots(kernels, matrix.layout, activations);
  switch (matrix.layout) {
    case Layout::nm4:
      return time_of_kept(4) / dots;
    case Layout::nm16:
      return time_of_kept(16) / dots;
    case Layout::blocks:
      return static_cast<double>(matrix.nbytes()) / static_cast<double>(width(matrix.dtype)) /
             elements_of(matrix);
    case Layout::index:  // is made dense again
      return 1.1 / gain_of_dots(kernels, Layout::dense, activations);
    default:
      return 1 / dots;
  }
}

// From how many rows on making panels dense costs less than looking up their elements for each
// batch of rows again. That costs most where they are then widened; where they stay as they are,
// the dense kernel is too fast to make up for it soon.
std::size_t rows_to_expand(const Prepared& matrix, Activations activations) {
  const bool widened = width(matrix.dtype) < sizeof(float) && activations == Activations::float32;
  return widened ? 32 : 64;
}

}  // namespace

ProductForm form_of_product(const Kernels& kernels, const Prepared& matrix, std::size_t batch,
                            Activations activations) {
  if (matrix.layout == Layout::csr) return ProductForm::lists;
  // Fewer rows do not fill the registers of a list's product, and panels have kernels of their own
  // for them.
  constexpr std::size_t few = 8;
  if (batch <= few) return ProductForm::panels;
  if (time_of_lists(kernels, matrix, batch) < time_of_panels(kernels, matrix, activations)) {
    return ProductForm::lists;
  }
  const bool looks_up = matrix.layout == Layout::bitmask || matrix.layout == Layout::index;
  return looks_up && batch >= rows_to_expand(matrix, activations) ? ProductForm::dense
                                                                  : ProductForm::panels;
}

}  // namespace prunepack
