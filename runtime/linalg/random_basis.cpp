// Cholesky QR and Householder QR of rows.
#include "runtime/linalg/random_basis.h"

#include <lapacke.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "runtime/error.h"
#include "runtime/linalg/products.h"

namespace subspect::runtime::linalg {

namespace {

constexpr double orthonormal = 5e-7;

double distance_from_identity(const std::vector<double>& gram, int64_t k) {
  double largest = 0.0;
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t j = 0; j < k; ++j) {
      largest = std::max(largest, std::abs(gram[static_cast<size_t>(i * k + j)] - (i == j ? 1.0 : 0.0)));
    }
  }
  return largest;
}

/// Row-major [k, m] is column-major m x k: its columns are orthonormalised.
void householder(float* values, int64_t k, int64_t m) {
  std::vector<double> wide(values, values + k * m);
  std::vector<double> tau(static_cast<size_t>(k));
  const auto rows = static_cast<lapack_int>(m);
  const auto cols = static_cast<lapack_int>(k);
  lapack_int info = LAPACKE_dgeqrf(LAPACK_COL_MAJOR, rows, cols, wide.data(), rows, tau.data());
  if (info == 0) info = LAPACKE_dorgqr(LAPACK_COL_MAJOR, rows, cols, cols, wide.data(), rows, tau.data());
  if (info != 0) {
    throw Error(fmt::format("QR factorisation of {} vectors of length {} failed with info {}", k, m, info), "LAPACK",
                "check the LAPACK library");
  }
  std::copy(wide.begin(), wide.end(), values);
}

}  // namespace

double orthonormalize_rows(Stream& stream, const Tensor& vectors) {
  require(vectors.dim() == 2 && vectors.is_contiguous() && vectors.size(0) <= vectors.size(1), "orthonormalize_rows",
          "contiguous rows, no more than their length, are required. Received {}", to_string(vectors.shape()));
  const auto context = stream.context<kernels::Cpu>();
  const int64_t k = vectors.size(0);
  const int64_t m = vectors.size(1);
  if (k == 0) return 0.0;
  const MatrixRef<float> rows(vectors.data<float>(), k, m);
  std::vector<double> gram(static_cast<size_t>(k * k));
  double error = 0.0;
  constexpr int passes = 3;
  for (int pass = 0; pass <= passes; ++pass) {
    gram_of_rows(context, rows, 1.0, gram.data());
    error = distance_from_identity(gram, k);
    if (error <= orthonormal) return error;
    if (pass == passes) break;
    // Column-major upper is row-major lower.
    const lapack_int info =
        LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'U', static_cast<lapack_int>(k), gram.data(), static_cast<lapack_int>(k));
    if (info != 0) break;
    solve_lower(context, gram.data(), rows);
  }
  householder(rows.data, k, m);
  gram_of_rows(context, rows, 1.0, gram.data());
  return distance_from_identity(gram, k);
}

RandomBasis random_basis(Stream& stream, int64_t m, int64_t k, const Philox& philox) {
  require(0 <= k && k <= m, "random_basis", "0 <= k <= m is required. Received k = {}, m = {}", k, m);
  RandomBasis basis{Tensor::empty(stream, {k, m}, DType::float32)};
  fill_normal(stream, basis.vectors, 1.0, philox);
  basis.deviation = orthonormalize_rows(stream, basis.vectors);
  return basis;
}

}  // namespace subspect::runtime::linalg
