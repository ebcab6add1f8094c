// Symmetric eigenproblems: divide and conquer for all vectors, bisection and inverse iteration for the leading ones.
#include "runtime/linalg/lapack.h"

#include <lapacke.h>

#include <algorithm>
#include <vector>

// OpenBLAS's own; other implementations of CBLAS do not have it.
extern "C" void openblas_set_num_threads(int threads);

namespace subspect::runtime::linalg {

namespace {

/// The `count` largest eigenvalues and their vectors.
bool leading_eigen(double* matrix, lapack_int n, lapack_int count, double* values) {
  std::vector<double> all_values(static_cast<size_t>(n));  // LAPACK wants room for all of them
  std::vector<double> vectors(static_cast<size_t>(n) * static_cast<size_t>(count));
  std::vector<lapack_int> support(2 * static_cast<size_t>(count));
  lapack_int found = 0;
  const lapack_int info = LAPACKE_dsyevr(LAPACK_COL_MAJOR, 'V', 'I', 'U', n, matrix, n, 0.0, 0.0, n - count + 1, n, 0.0,
                                         &found, all_values.data(), vectors.data(), n, support.data());
  if (info != 0 || found != count) return false;
  std::copy(vectors.begin(), vectors.end(), matrix);
  std::copy_n(all_values.begin(), count, values);
  return true;
}

}  // namespace

void use_single_threaded_blas() {
  static const bool done = [] {
    openblas_set_num_threads(1);
    return true;
  }();
  static_cast<void>(done);
}

// A row-major matrix is the column-major transpose: our lower triangle is LAPACK's upper one, and its columns our rows.
bool symmetric_eigen(double* matrix, int64_t n, int64_t count, double* values) {
  use_single_threaded_blas();
  const auto size = static_cast<lapack_int>(n);
  if (count < n) return leading_eigen(matrix, size, static_cast<lapack_int>(count), values);
  return LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'U', size, matrix, size, values) == 0;
}

}  // namespace subspect::runtime::linalg
