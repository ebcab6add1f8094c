// Cholesky QR and Householder QR of rows.
#include "runtime/linalg/random_basis.h"

#include "runtime/error.h"
#include "runtime/linalg/backend.h"
#include "runtime/linalg/products.h"

namespace subspect::runtime::linalg {

namespace {

constexpr double orthonormal = 5e-7;

}  // namespace

double orthonormalize_rows(Stream& stream, const Tensor& vectors) {
  require(vectors.dim() == 2 && vectors.is_contiguous() && vectors.size(0) <= vectors.size(1), "orthonormalize_rows",
          "contiguous rows, no more than their length, are required. Received {}", to_string(vectors.shape()));
  const int64_t k = vectors.size(0);
  if (k == 0) return 0.0;
  const auto rows = matrix_of<float>(vectors);
  const Tensor gram = Tensor::empty(stream, {k, k}, DType::float64);
  double error = 0.0;
  constexpr int passes = 3;
  for (int pass = 0; pass <= passes; ++pass) {
    gram_of_rows(stream, rows, 1.0, gram.data<double>());
    error = distance_from_identity(stream, gram.data<double>(), k);
    if (error <= orthonormal) return error;
    if (pass == passes || !backend_of(stream).cholesky(stream, gram.data<double>(), k)) break;
    solve_lower(stream, gram.data<double>(), rows);
  }
  const Tensor wide = Tensor::empty(stream, {k, vectors.size(1)}, DType::float64);
  copy_rows(stream, rows, matrix_of<double>(wide));
  backend_of(stream).householder(stream, matrix_of<double>(wide));
  copy_rows(stream, matrix_of<double>(wide), rows);
  gram_of_rows(stream, rows, 1.0, gram.data<double>());
  return distance_from_identity(stream, gram.data<double>(), k);
}

RandomBasis random_basis(Stream& stream, int64_t m, int64_t k, const Philox& philox) {
  require(0 <= k && k <= m, "random_basis", "0 <= k <= m is required. Received k = {}, m = {}", k, m);
  RandomBasis basis{Tensor::empty(stream, {k, m}, DType::float32)};
  fill_normal(stream, basis.vectors, 1.0, philox);
  basis.deviation = orthonormalize_rows(stream, basis.vectors);
  return basis;
}

}  // namespace subspect::runtime::linalg
