// Double-precision truth for the tests of linear algebra: LAPACK's dgesdd and plain loops.
#pragma once

#include <lapacke.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <vector>

#include "runtime/random.h"
#include "runtime/tensor.h"

namespace subspect::runtime::linalg::testing {

/// A row-major matrix of doubles.
struct Dense {
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<double> values;

  Dense(int64_t m, int64_t n) : rows(m), cols(n), values(static_cast<size_t>(m * n), 0.0) {}
  double& operator()(int64_t i, int64_t j) { return values[static_cast<size_t>(i * cols + j)]; }
  double operator()(int64_t i, int64_t j) const { return values[static_cast<size_t>(i * cols + j)]; }
};

inline Dense product(const Dense& a, const Dense& b) {
  Dense c(a.rows, b.cols);
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t k = 0; k < a.cols; ++k) {
      for (int64_t j = 0; j < b.cols; ++j) c(i, j) += a(i, k) * b(k, j);
    }
  }
  return c;
}

inline Dense transpose(const Dense& a) {
  Dense t(a.cols, a.rows);
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t j = 0; j < a.cols; ++j) t(j, i) = a(i, j);
  }
  return t;
}

/// The first k columns.
inline Dense leading(const Dense& a, int64_t k) {
  Dense part(a.rows, k);
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t j = 0; j < k; ++j) part(i, j) = a(i, j);
  }
  return part;
}

inline Dense difference(const Dense& a, const Dense& b) {
  Dense c = a;
  for (size_t i = 0; i < c.values.size(); ++i) c.values[i] -= b.values[i];
  return c;
}

inline double norm(const Dense& a) {
  double sum = 0.0;
  for (const double x : a.values) sum += x * x;
  return std::sqrt(sum);
}

inline double largest_entry(const Dense& a) {
  double largest = 0.0;
  for (const double x : a.values) largest = std::max(largest, std::abs(x));
  return largest;
}

inline Dense identity(int64_t n) {
  Dense eye(n, n);
  for (int64_t i = 0; i < n; ++i) eye(i, i) = 1.0;
  return eye;
}

/// U [m, min(m, n)] and singular values, descending.
struct Decomposition {
  Dense u;
  std::vector<double> sigma;
};

inline Decomposition decompose(const Dense& a) {
  const int64_t side = std::min(a.rows, a.cols);
  Dense copy = a;
  Decomposition result{Dense(a.rows, side), std::vector<double>(static_cast<size_t>(side))};
  Dense vt(side, a.cols);
  const lapack_int info =
      LAPACKE_dgesdd(LAPACK_ROW_MAJOR, 'S', static_cast<lapack_int>(a.rows), static_cast<lapack_int>(a.cols),
                     copy.values.data(), static_cast<lapack_int>(a.cols), result.sigma.data(), result.u.values.data(),
                     static_cast<lapack_int>(side), vt.values.data(), static_cast<lapack_int>(a.cols));
  if (info != 0) throw std::runtime_error("dgesdd failed");
  return result;
}

/// The values of a float32 tensor in host memory as doubles; a vector is a column.
inline Dense to_dense(const Tensor& tensor) {
  Dense matrix(tensor.size(0), tensor.dim() > 1 ? tensor.size(1) : 1);
  const float* values = tensor.data<float>();
  for (size_t i = 0; i < matrix.values.size(); ++i) matrix.values[i] = static_cast<double>(values[i]);
  return matrix;
}

inline Tensor to_tensor(Stream& stream, const Dense& matrix) {
  std::vector<float> values(matrix.values.size());
  std::transform(matrix.values.begin(), matrix.values.end(), values.begin(),
                 [](double x) { return static_cast<float>(x); });
  return Tensor::from_host<float>(stream, values, {matrix.rows, matrix.cols});
}

/// Gaussian entries, exact in float32.
inline Dense gaussian(int64_t m, int64_t n, uint64_t seed) {
  Dense matrix(m, n);
  Random random(seed);
  for (double& x : matrix.values) x = static_cast<double>(static_cast<float>(random.normal()));
  return matrix;
}

/// Random orthonormal factors around the given singular values, rounded to float32 values.
inline Dense with_spectrum(int64_t m, int64_t n, std::span<const double> sigma, uint64_t seed) {
  const auto r = static_cast<int64_t>(sigma.size());
  Dense left = decompose(gaussian(m, r, seed)).u;
  const Dense right = decompose(gaussian(n, r, seed + 1)).u;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < r; ++j) left(i, j) *= sigma[static_cast<size_t>(j)];
  }
  Dense matrix = product(left, transpose(right));
  for (double& x : matrix.values) x = static_cast<double>(static_cast<float>(x));
  return matrix;
}

/// sigma_i = i^-power.
inline std::vector<double> power_law(int64_t count, double power) {
  std::vector<double> sigma(static_cast<size_t>(count));
  for (size_t i = 0; i < sigma.size(); ++i) sigma[i] = std::pow(static_cast<double>(i + 1), -power);
  return sigma;
}

}  // namespace subspect::runtime::linalg::testing
