// Kernels between the library calls of runtime/linalg: copies with conversion, sums in float64, the scan for NaN.
// Matrices are row-major.
#pragma once

#include <cstdint>

#include "kernels/context.h"

namespace subspect::kernels {

template <class In, class Out>
struct CopyRowsParams {
  const In* x = nullptr;
  int64_t x_stride = 0;  ///< elements from one row to the next
  Out* y = nullptr;      ///< [rows, cols], written
  int64_t y_stride = 0;
  int64_t rows = 0;
  int64_t cols = 0;
  const int64_t* index = nullptr;  ///< [rows], the row of x for each row of y; nullptr: the same
  const double* factor = nullptr;  ///< [rows]; nullptr: 1
  double scale = 1;
};

/// y[i, j] = scale factor[i] x[index[i], j], in float64, rounded once. x and y do not overlap. In, Out: float, double.
template <Device D, class In, class Out>
void copy_rows(Context<D> on, const CopyRowsParams<In, Out>& p);

struct AddRowsParams {
  const float* x = nullptr;  ///< [rows, cols]
  float* y = nullptr;        ///< [rows, cols], added to
  int64_t rows = 0;
  int64_t cols = 0;
  const double* factor = nullptr;  ///< [rows]; nullptr: 1
  double scale = 1;
};

/// y[i, j] += scale factor[i] x[i, j], in float64, rounded once: with a factor of 1 or -1 the float32 sum or
/// difference.
template <Device D>
void add_rows(Context<D> on, const AddRowsParams& p);

/// y = x^T; x [rows, cols], y [cols, rows], not overlapping. T: float, double.
template <Device D, class T>
void transpose(Context<D> on, const T* x, int64_t rows, int64_t cols, T* y);

struct ChunkProductsParams {
  const float* a = nullptr;  ///< [count]
  const float* b = nullptr;  ///< [count], may be a
  int64_t count = 0;
  int64_t chunk = 1;       ///< elements of a chunk, the last one may be shorter
  double* sums = nullptr;  ///< [ceil(count / chunk)], written
};

/// sums[c] = sum of a[i] b[i] over chunk c in float64. With chunk = cols: inner products of rows.
template <Device D>
void chunk_products(Context<D> on, const ChunkProductsParams& p);

struct ChunkMagnitudesParams {
  const float* x = nullptr;  ///< [count]
  int64_t count = 0;
  int64_t chunk = 1;
  float* largest = nullptr;  ///< [ceil(count / chunk)], written
};

/// largest[c] = the largest |x[i]| of chunk c; infinity or NaN where one of the two is in the chunk.
template <Device D>
void chunk_magnitudes(Context<D> on, const ChunkMagnitudesParams& p);

/// largest[i] = max over j <= i of |gram[i, j] - (i == j)|; gram [n, n], its lower triangle is read.
template <Device D>
void identity_deviation(Context<D> on, const double* gram, int64_t n, double* largest);

}  // namespace subspect::kernels
