// Matrix products over tiles of fixed size: the same bits for any number of threads, each tile one BLAS call on one
// thread. Mixed products take float32 operands and work in float64 by blocks, so that no whole matrix is widened.
#pragma once

#include <cstdint>

#include "kernels/context.h"

namespace subspect::runtime::linalg {

/// A row-major matrix in host memory; `stride` elements from one row to the next.
template <class T>
struct MatrixRef {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  MatrixRef() = default;
  MatrixRef(T* values, int64_t m, int64_t n) : MatrixRef(values, m, n, n) {}
  MatrixRef(T* values, int64_t m, int64_t n, int64_t row_stride) : data(values), rows(m), cols(n), stride(row_stride) {}
  /// A mutable view is also a constant one.
  operator MatrixRef<const T>() const { return {data, rows, cols, stride}; }
};

using FloatMatrix = MatrixRef<const float>;
using DoubleMatrix = MatrixRef<const double>;
using CpuContext = kernels::Context<kernels::Cpu>;

enum class Op : uint8_t { none, transpose };

struct ProductScale {
  double alpha = 1.0;
  double beta = 0.0;
};

/// c = alpha op(a) op(b) + beta c. Shapes as BLAS wants them (unchecked).
void multiply(CpuContext context, Op op_a, FloatMatrix a, Op op_b, FloatMatrix b, MatrixRef<float> c,
              ProductScale scale = {});
void multiply(CpuContext context, Op op_a, DoubleMatrix a, Op op_b, DoubleMatrix b, MatrixRef<double> c,
              ProductScale scale = {});

/// out [rows, rows] = scale^2 x x^T, both triangles, accumulated in float64 over blocks of columns.
void gram_of_rows(CpuContext context, FloatMatrix x, double scale, double* out);
/// out [cols, cols] = scale^2 x^T x, both triangles, accumulated in float64 over blocks of rows.
void gram_of_cols(CpuContext context, FloatMatrix x, double scale, double* out);

/// out [a.cols, b.cols] = a^T b in float64 over blocks of rows.
void multiply_transposed_wide(CpuContext context, FloatMatrix a, FloatMatrix b, MatrixRef<double> out);
/// out [t.rows, x.rows] = t x^T, in float64 over blocks of rows of x, rounded to float32.
void multiply_by_rows(CpuContext context, DoubleMatrix t, FloatMatrix x, MatrixRef<float> out);

/// out = op(x) p in float64 for a narrow p (a few columns), over blocks of rows of x.
void multiply_narrow(CpuContext context, Op op_x, FloatMatrix x, DoubleMatrix p, MatrixRef<double> out);
/// x = L^-1 x, in float64 over blocks of columns; `lower`: [x.rows, x.rows] row-major, its lower triangle is read.
void solve_lower(CpuContext context, const double* lower, MatrixRef<float> x);

/// Sum of squares in float64, over fixed chunks.
double squared_norm(CpuContext context, const float* values, int64_t count);
/// Inner product in float64, over fixed chunks.
double inner_product(CpuContext context, const float* a, const float* b, int64_t count);

/// BLAS calls of this process run on the calling thread alone (called by everything here; cheap).
void use_single_threaded_blas();

}  // namespace subspect::runtime::linalg
