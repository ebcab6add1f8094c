// Row-major matrices by pointer, as the products and factorisations of runtime/linalg take them.
#pragma once

#include <cstdint>

#include "runtime/tensor.h"

namespace subspect::runtime::linalg {

/// A row-major matrix in the memory of the stream's device; `stride` elements from one row to the next.
template <class T>
struct MatrixRef {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;
  /// In host memory whatever the stream's device: read in blocks by the products in float64 (products.h).
  bool on_host = false;

  MatrixRef() = default;
  MatrixRef(T* values, int64_t m, int64_t n) : MatrixRef(values, m, n, n) {}
  MatrixRef(T* values, int64_t m, int64_t n, int64_t row_stride) : data(values), rows(m), cols(n), stride(row_stride) {}
  /// A mutable view is also a constant one.
  operator MatrixRef<const T>() const {
    MatrixRef<const T> view(data, rows, cols, stride);
    view.on_host = on_host;
    return view;
  }
  /// Rows [begin, begin + count).
  MatrixRef rows_from(int64_t begin, int64_t count) const {
    MatrixRef part(data + begin * stride, count, cols, stride);
    part.on_host = on_host;
    return part;
  }
};

using FloatMatrix = MatrixRef<const float>;
using DoubleMatrix = MatrixRef<const double>;

/// The values of a contiguous 2-D tensor of T.
template <class T>
MatrixRef<T> matrix_of(const Tensor& tensor) {
  MatrixRef<T> matrix(tensor.data<T>(), tensor.size(0), tensor.size(1));
  matrix.on_host = tensor.device().type == DeviceType::cpu;
  return matrix;
}

enum class Op : uint8_t { none, transpose };

struct ProductScale {
  double alpha = 1.0;
  double beta = 0.0;
};

}  // namespace subspect::runtime::linalg
