// What the algorithms of runtime/linalg need of a device's libraries: BLAS and LAPACK (cpu_backend.cpp), or cuBLAS and
// cuSOLVER. Everything else is written once, over these. Pointers are in the memory of the stream's device.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/device.h"
#include "runtime/linalg/matrix.h"

namespace subspect::runtime::linalg {

/// c = alpha op(a) op(b) + beta c.
template <class T>
struct Product {
  Op op_a = Op::none;
  MatrixRef<const T> a;
  Op op_b = Op::none;
  MatrixRef<const T> b;
  MatrixRef<T> c;
  ProductScale scale;
};

/// Eigenproblems of several matrices of one size in one call.
class BatchedEigen {
 public:
  virtual ~BatchedEigen() = default;

  /// What Backend::eigen does with all vectors of each of matrices [count, n, n], values [count, n]; by matrix whether
  /// it converged.
  virtual std::vector<bool> eigen_batch(Stream& stream, double* matrices, int64_t n, int64_t count,
                                        double* values) const = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  /// A float32 product accumulates in float32; nothing narrower (TF32) is ever used.
  virtual void multiply(Stream& stream, const Product<float>& p) const = 0;
  virtual void multiply(Stream& stream, const Product<double>& p) const = 0;

  /// The lower triangle of out [n, n] += op(x) op(x)^T; it is overwritten when `first`.
  virtual void accumulate_gram(Stream& stream, Op op, DoubleMatrix x, bool first, double* out) const = 0;

  /// x = L^-1 x, or L^-T x for Op::transpose; `lower` [x.rows, x.rows], its lower triangle is read.
  virtual void solve_lower(Stream& stream, Op op, const double* lower, MatrixRef<double> x) const = 0;

  /// matrix [n, n] = L L^T: its lower triangle is read and becomes L. False when it is not positive definite.
  virtual bool cholesky(Stream& stream, double* matrix, int64_t n) const = 0;

  /// Reads the lower triangle of matrix [n, n]; `values` [count], in host memory, become the `count` largest
  /// eigenvalues, ascending, and row i of `matrix` the eigenvector of values[i]; its other rows are destroyed. False
  /// when the iteration did not converge.
  virtual bool eigen(Stream& stream, double* matrix, int64_t n, int64_t count, double* values) const = 0;

  /// Nothing where the device has no call for it.
  virtual const BatchedEigen* batched_eigen() const { return nullptr; }

  /// `values`: min(rows, cols) singular values, descending, in host memory; x is destroyed. Row i of `left`
  /// ([min(rows, cols), rows]) becomes the left singular vector i, unless `left` is null. False without convergence.
  virtual bool svd(Stream& stream, MatrixRef<double> x, double* values, double* left) const = 0;

  /// Rows [k, m], k <= m, become orthonormal by Householder reflections; row i stays in the span of rows 0..i.
  virtual void householder(Stream& stream, MatrixRef<double> rows) const = 0;
};

/// The backend of a device; stateless.
template <kernels::Device D>
const Backend& backend();
template <>
const Backend& backend<kernels::Cpu>();
template <>
const Backend& backend<kernels::Cuda>();

/// The backend of the stream's device.
const Backend& backend_of(const Stream& stream);

}  // namespace subspect::runtime::linalg
