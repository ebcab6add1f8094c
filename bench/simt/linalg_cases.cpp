// What runs between the library calls of the linear algebra, over matrices of a 1.5B model.
#include "bench/simt/inputs.h"
#include "kernels/linalg.h"

namespace subspect::bench {
namespace {

using namespace kernels;

constexpr int64_t rows = 256;
constexpr int64_t cols = 1536;
constexpr int64_t count = rows * cols;
constexpr int64_t chunk = 4096;
constexpr int64_t deviation_size = 512;

CostSizes matrix(int64_t row_count, size_t element) {
  return {.rows = real(row_count), .cols = real(cols), .element = static_cast<double>(element)};
}
CostSizes flat(int64_t elements) {
  return {.cols = real(elements), .element = sizeof(float)};
}

/// Float32 to float64.
KernelCost widening_cost(const CostSizes& s) {
  return {12 * s.rows * s.cols, s.rows * s.cols};
}

template <class Out>
void copy() {
  const auto x = normal<float>(count, 1);
  const auto y = unwritten<Out>(count);
  copy_rows(gpu, CopyRowsParams<float, Out>{
                     .x = x.data(), .x_stride = cols, .y = y.data(), .y_stride = cols, .rows = rows, .cols = cols});
}

void add_matrix() {
  const auto x = normal<float>(count, 1);
  const auto y = normal<float>(count, 2);
  add_rows(gpu, AddRowsParams{.x = x.data(), .y = y.data(), .rows = rows, .cols = cols, .scale = 0.5});
}

void transpose_matrix() {
  const auto x = normal<float>(count, 1);
  const auto y = unwritten<float>(count);
  transpose(gpu, x.data(), rows, cols, y.data());
}

void products() {
  const auto a = normal<float>(count, 1);
  const auto b = normal<float>(count, 2);
  const auto sums = unwritten<double>(count / chunk);
  chunk_products(gpu, ChunkProductsParams{a.data(), b.data(), count, chunk, sums.data()});
}

void magnitudes() {
  const auto x = normal<float>(count, 1);
  const auto largest = unwritten<float>(count / chunk);
  chunk_magnitudes(gpu, ChunkMagnitudesParams{x.data(), count, chunk, largest.data()});
}

void deviation() {
  const auto gram = zeros<double>(deviation_size * deviation_size);
  const auto largest = unwritten<double>(deviation_size);
  identity_deviation(gpu, gram.data(), deviation_size, largest.data());
}

}  // namespace

std::vector<Case> linalg_cases() {
  const std::string f32 = "float32";
  const CostSizes counted = matrix(rows, sizeof(float));
  const CostSizes declared = matrix(8960, sizeof(float));
  const CostSizes elements = flat(count);
  const CostSizes all_elements = flat(8960 * cols);
  return {
      registered("copy_rows", "", f32, counted, declared, copy<float>),
      unregistered("copy_rows, to float64", f32, counted, declared, widening_cost, copy<double>),
      registered("add_rows", "", f32, counted, declared, add_matrix),
      registered("transpose", "", f32, counted, declared, transpose_matrix),
      registered("chunk_products", "", f32, elements, all_elements, products),
      registered("chunk_magnitudes", "", f32, elements, all_elements, magnitudes),
      registered("identity_deviation", "", "float64", flat(deviation_size), flat(cols), deviation),
  };
}

}  // namespace subspect::bench
