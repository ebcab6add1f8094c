// Matrix products and sums on a stream of any device. Products in float64 of float32 matrices widen blocks of them, so
// that no whole matrix is widened; such a matrix may also stay in host memory (`on_host`) and is then brought to the
// device by blocks. Results have the same bits for any number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "runtime/linalg/matrix.h"

namespace subspect::runtime::linalg {

/// c = alpha op(a) op(b) + beta c. Shapes as BLAS wants them (unchecked).
void multiply(Stream& stream, Op op_a, FloatMatrix a, Op op_b, FloatMatrix b, MatrixRef<float> c,
              ProductScale scale = {});
void multiply(Stream& stream, Op op_a, DoubleMatrix a, Op op_b, DoubleMatrix b, MatrixRef<double> c,
              ProductScale scale = {});

/// The lower triangle of out [rows, rows] = scale^2 x x^T, accumulated in float64 over blocks of columns.
void gram_of_rows(Stream& stream, FloatMatrix x, double scale, double* out);
/// The lower triangle of out [cols, cols] = scale^2 x^T x, accumulated in float64 over blocks of rows.
void gram_of_cols(Stream& stream, FloatMatrix x, double scale, double* out);
/// The lower triangle of out [t.rows, t.rows] = scale^2 (t op(x)) (t op(x))^T in float64, by blocks of op(x)'s columns.
void gram_of_product(Stream& stream, DoubleMatrix t, Op op_x, FloatMatrix x, double scale, double* out);

/// out [a.cols, b.cols] = a^T b in float64 over blocks of rows.
void multiply_transposed_wide(Stream& stream, FloatMatrix a, FloatMatrix b, MatrixRef<double> out);
/// out [t.rows, x.rows] = t x^T, in float64 over blocks of rows of x, rounded to float32.
void multiply_by_rows(Stream& stream, DoubleMatrix t, FloatMatrix x, MatrixRef<float> out);

/// out = scale op(x) p in float64 for a narrow p (a few columns), over blocks of rows of x.
void multiply_narrow(Stream& stream, Op op_x, FloatMatrix x, DoubleMatrix p, MatrixRef<double> out, double scale = 1.0);
/// x = L^-1 x, in float64 over blocks of columns; `lower`: [x.rows, x.rows] row-major, its lower triangle is read.
void solve_lower(Stream& stream, const double* lower, MatrixRef<float> x);

/// out[i, :] = scale factor[i] x[index[i], :], converted; no index: in order; no factor: 1.
struct RowChoice {
  std::span<const int64_t> index;
  std::span<const double> factor;
  double scale = 1.0;
};
void copy_rows(Stream& stream, FloatMatrix x, MatrixRef<float> out, const RowChoice& rows = {});
void copy_rows(Stream& stream, FloatMatrix x, MatrixRef<double> out, const RowChoice& rows = {});
void copy_rows(Stream& stream, DoubleMatrix x, MatrixRef<float> out, const RowChoice& rows = {});
void copy_rows(Stream& stream, DoubleMatrix x, MatrixRef<double> out, const RowChoice& rows = {});

/// y += scale factor[i] x for row i, in float64 rounded once; contiguous float32 tensors of one shape. No factor: 1.
void add_scaled(Stream& stream, const Tensor& x, double scale, const Tensor& y, std::span<const double> factor = {});

/// The transpose of a contiguous float32 matrix, as new memory on the stream's device.
Tensor transposed_copy(Stream& stream, const Tensor& matrix);

/// Sum of squares in float64, over fixed chunks; a contiguous float32 tensor.
double squared_norm(Stream& stream, const Tensor& x);
/// Inner product in float64, over fixed chunks; contiguous float32 tensors of one shape, both where V may be.
double inner_product(Stream& stream, const Tensor& a, const Tensor& b);
/// Squared norm of every row of a contiguous float32 matrix.
std::vector<double> row_energies(Stream& stream, const Tensor& matrix);
/// The largest |x| of a contiguous float32 tensor; not finite when there is a NaN or infinity; 0 for an empty tensor.
float largest_magnitude(Stream& stream, const Tensor& x);
/// max |gram - identity| over the lower triangle of gram [n, n].
double distance_from_identity(Stream& stream, const double* gram, int64_t n);

/// Calls body(part, row) for consecutive rows of x, beginning at `row`, on the stream's device: all of x at once, or
/// blocks of it where x is in host memory and the device has its own.
void for_each_resident(Stream& stream, FloatMatrix x, const std::function<void(FloatMatrix part, int64_t row)>& body);

/// The contiguous tensor itself, or a copy of it on the stream's device where it is in host memory.
Tensor on_device(Stream& stream, const Tensor& tensor);
/// The contiguous tensor itself where it is in host memory, else a copy there.
Tensor on_host(Stream& stream, const Tensor& tensor);
/// Zeros in host memory, float32, whatever the device.
Tensor host_matrix(int64_t rows, int64_t cols);

/// a - b in float32 for tensors in host memory of one shape and any floating type: on the stream's device, or in host
/// memory where the device has no room for three of it (LeftBasis then reads it by blocks).
Tensor difference(Stream& stream, const Tensor& a, const Tensor& b);

/// Values of a vector as a [size, 1] column, or of `cols` columns, on the stream's device.
Tensor to_device(Stream& stream, std::span<const double> values, int64_t cols = 1);

}  // namespace subspect::runtime::linalg
