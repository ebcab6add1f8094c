// Blocked products over the device's own (backend.h) and the kernels of kernels/linalg.h.
#include "runtime/linalg/products.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>

#include "kernels/linalg.h"
#include "runtime/dispatch.h"
#include "runtime/linalg/backend.h"
#include "runtime/memory.h"

namespace subspect::runtime::linalg {

namespace {

// Fixed sizes: a result must not depend on how many threads share the work.
constexpr int64_t block_length = 1024;  // rows or columns widened to float64 at a time
constexpr int64_t sum_chunk = 1 << 16;

MatrixRef<double> empty_matrix(Stream& stream, Tensor& storage, int64_t rows, int64_t cols) {
  storage = Tensor::empty(stream, {rows, cols}, DType::float64);
  return matrix_of<double>(storage);
}

/// Numbers on the device, or an undefined tensor for none.
template <class T>
Tensor upload(Stream& stream, std::span<const T> values) {
  if (values.empty()) return {};
  return Tensor::from_host<T>(stream, values, {static_cast<int64_t>(values.size())});
}

template <class T>
const T* data_or_null(const Tensor& tensor) {
  return tensor.defined() ? tensor.data<T>() : nullptr;
}

/// The chosen rows of a matrix in host memory, packed on the device.
template <class T>
MatrixRef<const T> pack(Stream& stream, MatrixRef<const T> x, std::span<const int64_t> index, int64_t rows,
                        Tensor& storage) {
  std::vector<T> packed(static_cast<size_t>(rows * x.cols));
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t row = index.empty() ? i : index[static_cast<size_t>(i)];
    std::copy_n(x.data + row * x.stride, x.cols, packed.data() + i * x.cols);
  }
  storage = Tensor::from_host<T>(stream, packed, {rows, x.cols});
  return matrix_of<T>(storage);
}

template <class In, class Out>
void copy_any_rows(Stream& stream, MatrixRef<const In> x, MatrixRef<Out> out, RowChoice rows) {
  Tensor packed;
  if (x.on_host && stream.device().type != DeviceType::cpu) {
    x = pack(stream, x, rows.index, out.rows, packed);
    rows.index = {};
  }
  const Tensor index = upload(stream, rows.index);
  const Tensor factor = upload(stream, rows.factor);
  dispatch_device(stream, [&]<class D>(kernels::Context<D> context) {
    kernels::copy_rows<D, In, Out>(context, {.x = x.data,
                                             .x_stride = x.stride,
                                             .y = out.data,
                                             .y_stride = out.stride,
                                             .rows = out.rows,
                                             .cols = out.cols,
                                             .index = data_or_null<int64_t>(index),
                                             .factor = data_or_null<double>(factor),
                                             .scale = rows.scale});
  });
}

/// A block of x on the stream's device: x itself, or a copy of it (kept in `storage`) where x is in host memory.
FloatMatrix bring(Stream& stream, FloatMatrix block, Tensor& storage) {
  if (!block.on_host || stream.device().type == DeviceType::cpu) return block;
  storage = Tensor::empty(stream, {block.rows, block.cols}, DType::float32);
  float* target = storage.data<float>();
  constexpr auto size = static_cast<int64_t>(sizeof(float));
  if (block.stride == block.cols) {
    stream.copy_from_host(target, block.data, block.rows * block.cols * size);
  } else {
    for (int64_t i = 0; i < block.rows; ++i) {
      stream.copy_from_host(target + i * block.cols, block.data + i * block.stride, block.cols * size);
    }
  }
  return {target, block.rows, block.cols};
}

/// Blocks of rows or columns of a float32 matrix as float64, one at a time in the same memory.
class WideBlocks {
 public:
  WideBlocks(Stream& stream, FloatMatrix x, bool by_rows, double scale = 1.0)
      : stream_(stream), x_(x), by_rows_(by_rows), scale_(scale) {
    const int64_t length = std::min(block_length, by_rows ? x.rows : x.cols);
    storage_ = Tensor::empty(stream, {length * (by_rows ? x.cols : x.rows)}, DType::float64);
  }

  int64_t total() const { return by_rows_ ? x_.rows : x_.cols; }

  /// Rows (or columns) from `begin`, at most block_length of them.
  MatrixRef<double> at(int64_t begin) {
    const int64_t length = std::min(block_length, total() - begin);
    FloatMatrix part = by_rows_ ? FloatMatrix(x_.data + begin * x_.stride, length, x_.cols, x_.stride)
                                : FloatMatrix(x_.data + begin, x_.rows, length, x_.stride);
    part.on_host = x_.on_host;
    part = bring(stream_, part, brought_);
    const MatrixRef<double> wide(storage_.data<double>(), part.rows, part.cols);
    copy_any_rows<float, double>(stream_, part, wide, {{}, {}, scale_});
    return wide;
  }

 private:
  Stream& stream_;
  FloatMatrix x_;
  bool by_rows_;
  double scale_;
  Tensor storage_;
  Tensor brought_;
};

void gram(Stream& stream, FloatMatrix x, bool by_rows, double scale, double* out) {
  WideBlocks blocks(stream, x, by_rows, scale);
  if (blocks.total() == 0) {
    const int64_t n = by_rows ? x.cols : x.rows;
    stream.zero(out, n * n * static_cast<int64_t>(sizeof(double)));
  }
  for (int64_t begin = 0; begin < blocks.total(); begin += block_length) {
    const DoubleMatrix block = blocks.at(begin);
    backend_of(stream).accumulate_gram(stream, by_rows ? Op::transpose : Op::none, block, begin == 0, out);
  }
}

}  // namespace

const Backend& backend_of(const Stream& stream) {
  return dispatch_device(stream,
                         []<class D>(kernels::Context<D> /*context*/) -> const Backend& { return backend<D>(); });
}

void multiply(Stream& stream, Op op_a, FloatMatrix a, Op op_b, FloatMatrix b, MatrixRef<float> c, ProductScale scale) {
  backend_of(stream).multiply(stream, Product<float>{op_a, a, op_b, b, c, scale});
}

void multiply(Stream& stream, Op op_a, DoubleMatrix a, Op op_b, DoubleMatrix b, MatrixRef<double> c,
              ProductScale scale) {
  backend_of(stream).multiply(stream, Product<double>{op_a, a, op_b, b, c, scale});
}

void gram_of_rows(Stream& stream, FloatMatrix x, double scale, double* out) {
  gram(stream, x, false, scale, out);
}

void gram_of_cols(Stream& stream, FloatMatrix x, double scale, double* out) {
  gram(stream, x, true, scale, out);
}

void gram_of_product(Stream& stream, DoubleMatrix t, Op op_x, FloatMatrix x, double scale, double* out) {
  const bool by_rows = op_x == Op::transpose;
  WideBlocks blocks(stream, x, by_rows, scale);
  Tensor storage;
  MatrixRef<double> product = empty_matrix(stream, storage, t.rows, std::min(block_length, blocks.total()));
  for (int64_t begin = 0; begin < blocks.total(); begin += block_length) {
    const DoubleMatrix block = blocks.at(begin);
    const int64_t width = by_rows ? block.rows : block.cols;
    product = MatrixRef<double>(product.data, t.rows, width);
    multiply(stream, Op::none, t, op_x, block, product);
    backend_of(stream).accumulate_gram(stream, Op::none, product, begin == 0, out);
  }
}

void multiply_transposed_wide(Stream& stream, FloatMatrix a, FloatMatrix b, MatrixRef<double> out) {
  WideBlocks blocks_a(stream, a, true);
  WideBlocks blocks_b(stream, b, true);
  for (int64_t row = 0; row < a.rows; row += block_length) {
    multiply(stream, Op::transpose, blocks_a.at(row), Op::none, blocks_b.at(row), out, {1.0, row == 0 ? 0.0 : 1.0});
  }
}

void multiply_by_rows(Stream& stream, DoubleMatrix t, FloatMatrix x, MatrixRef<float> out) {
  WideBlocks blocks(stream, x, true);
  Tensor storage;
  const MatrixRef<double> whole = empty_matrix(stream, storage, t.rows, std::min(block_length, x.rows));
  for (int64_t row = 0; row < x.rows; row += block_length) {
    const DoubleMatrix block = blocks.at(row);
    const MatrixRef<double> product(whole.data, t.rows, block.rows);
    multiply(stream, Op::none, t, Op::transpose, block, product);
    copy_rows(stream, product, MatrixRef<float>(out.data + row, t.rows, block.rows, out.stride));
  }
}

void multiply_narrow(Stream& stream, Op op_x, FloatMatrix x, DoubleMatrix p, MatrixRef<double> out, double scale) {
  WideBlocks blocks(stream, x, true, scale);
  for (int64_t row = 0; row < x.rows; row += block_length) {
    const DoubleMatrix block = blocks.at(row);
    if (op_x == Op::none) {
      multiply(stream, Op::none, block, Op::none, p, out.rows_from(row, block.rows));
    } else {
      multiply(stream, Op::transpose, block, Op::none, p.rows_from(row, block.rows), out, {1.0, row == 0 ? 0.0 : 1.0});
    }
  }
}

void solve_lower(Stream& stream, const double* lower, MatrixRef<float> x) {
  WideBlocks blocks(stream, x, false);
  for (int64_t col = 0; col < x.cols; col += block_length) {
    const MatrixRef<double> block = blocks.at(col);
    backend_of(stream).solve_lower(stream, Op::none, lower, block);
    copy_rows(stream, block, MatrixRef<float>(x.data + col, x.rows, block.cols, x.stride));
  }
}

void copy_rows(Stream& stream, FloatMatrix x, MatrixRef<float> out, const RowChoice& rows) {
  copy_any_rows<float, float>(stream, x, out, rows);
}
void copy_rows(Stream& stream, FloatMatrix x, MatrixRef<double> out, const RowChoice& rows) {
  copy_any_rows<float, double>(stream, x, out, rows);
}
void copy_rows(Stream& stream, DoubleMatrix x, MatrixRef<float> out, const RowChoice& rows) {
  copy_any_rows<double, float>(stream, x, out, rows);
}
void copy_rows(Stream& stream, DoubleMatrix x, MatrixRef<double> out, const RowChoice& rows) {
  copy_any_rows<double, double>(stream, x, out, rows);
}

void add_scaled(Stream& stream, const Tensor& x, double scale, const Tensor& y, std::span<const double> factor) {
  require(x.shape() == y.shape() && x.is_contiguous() && y.is_contiguous(), "add_scaled",
          "contiguous tensors of one shape are required. Received {} and {}", to_string(x.shape()),
          to_string(y.shape()));
  if (x.numel() == 0) return;
  const int64_t rows = x.dim() == 0 ? 1 : x.size(0);
  const Tensor there = on_device(stream, x);
  const Tensor factors = upload(stream, factor);
  dispatch_device(stream, [&]<class D>(kernels::Context<D> context) {
    kernels::add_rows<D>(context, {.x = there.data<float>(),
                                   .y = y.data<float>(),
                                   .rows = rows,
                                   .cols = x.numel() / rows,
                                   .factor = data_or_null<double>(factors),
                                   .scale = scale});
  });
}

Tensor transposed_copy(Stream& stream, const Tensor& matrix) {
  Tensor copy = Tensor::empty(stream, {matrix.size(1), matrix.size(0)}, DType::float32);
  Tensor storage;
  const FloatMatrix x = bring(stream, matrix_of<float>(matrix), storage);
  dispatch_device(stream, [&]<class D>(kernels::Context<D> context) {
    kernels::transpose<D, float>(context, x.data, x.rows, x.cols, copy.data<float>());
  });
  return copy;
}

namespace {

/// A contiguous tensor as rows, for loops that bring them to the device.
FloatMatrix as_rows(const Tensor& tensor) {
  const int64_t rows = tensor.dim() < 2 ? 1 : tensor.size(0);
  FloatMatrix matrix(tensor.data<float>(), rows, rows == 0 ? 0 : tensor.numel() / rows);
  matrix.on_host = tensor.device().type == DeviceType::cpu;
  return matrix;
}

/// Inner products of chunks of two arrays on the stream's device, in host memory.
std::vector<double> chunk_sums(Stream& stream, const float* a, const float* b, int64_t count, int64_t chunk) {
  if (count == 0) return {};
  const Tensor sums = Tensor::empty(stream, {(count + chunk - 1) / chunk}, DType::float64);
  dispatch_device(stream, [&]<class D>(kernels::Context<D> context) {
    kernels::chunk_products<D>(context, {.a = a, .b = b, .count = count, .chunk = chunk, .sums = sums.data<double>()});
  });
  return sums.to_host<double>(stream);
}

std::vector<float> chunk_magnitudes(Stream& stream, const float* x, int64_t count) {
  if (count == 0) return {};
  const Tensor largest = Tensor::empty(stream, {(count + sum_chunk - 1) / sum_chunk}, DType::float32);
  dispatch_device(stream, [&]<class D>(kernels::Context<D> context) {
    kernels::chunk_magnitudes<D>(context,
                                 {.x = x, .count = count, .chunk = sum_chunk, .largest = largest.data<float>()});
  });
  return largest.to_host<float>(stream);
}

}  // namespace

double squared_norm(Stream& stream, const Tensor& x) {
  double total = 0.0;
  for_each_resident(stream, as_rows(x), [&](FloatMatrix part, int64_t /*row*/) {
    for (const double sum : chunk_sums(stream, part.data, part.data, part.rows * part.cols, sum_chunk)) total += sum;
  });
  return total;
}

double inner_product(Stream& stream, const Tensor& a, const Tensor& b) {
  require(a.numel() == b.numel() && a.is_contiguous() && b.is_contiguous(), "inner_product",
          "contiguous tensors of one size are required. Received {} and {}", to_string(a.shape()),
          to_string(b.shape()));
  double total = 0.0;
  const FloatMatrix other = as_rows(b);
  Tensor storage;
  for_each_resident(stream, as_rows(a), [&](FloatMatrix part, int64_t row) {
    const FloatMatrix beside = bring(stream, other.rows_from(row, part.rows), storage);
    for (const double sum : chunk_sums(stream, part.data, beside.data, part.rows * part.cols, sum_chunk)) total += sum;
  });
  return total;
}

std::vector<double> row_energies(Stream& stream, const Tensor& matrix) {
  if (matrix.size(1) == 0) return std::vector<double>(static_cast<size_t>(matrix.size(0)), 0.0);
  return chunk_sums(stream, matrix.data<float>(), matrix.data<float>(), matrix.numel(), matrix.size(1));
}

float largest_magnitude(Stream& stream, const Tensor& x) {
  float result = 0.0F;
  for_each_resident(stream, as_rows(x), [&](FloatMatrix part, int64_t /*row*/) {
    for (const float value : chunk_magnitudes(stream, part.data, part.rows * part.cols)) {
      if (!(value <= result) && !std::isnan(result)) result = value;
    }
  });
  return result;
}

double distance_from_identity(Stream& stream, const double* gram, int64_t n) {
  if (n == 0) return 0.0;
  const Tensor largest = Tensor::empty(stream, {n}, DType::float64);
  dispatch_device(stream, [&]<class D>(kernels::Context<D> context) {
    kernels::identity_deviation<D>(context, gram, n, largest.data<double>());
  });
  const std::vector<double> values = largest.to_host<double>(stream);
  return *std::max_element(values.begin(), values.end());
}

void for_each_resident(Stream& stream, FloatMatrix x, const std::function<void(FloatMatrix part, int64_t row)>& body) {
  const bool whole = !x.on_host || stream.device().type == DeviceType::cpu;
  const int64_t step = whole ? std::max<int64_t>(x.rows, 1) : block_length;
  Tensor storage;
  for (int64_t row = 0; row < x.rows; row += step) {
    body(bring(stream, x.rows_from(row, std::min(step, x.rows - row)), storage), row);
  }
}

Tensor on_device(Stream& stream, const Tensor& tensor) {
  return tensor.device() == stream.device() ? tensor : tensor.clone(stream);
}

Tensor on_host(Stream& stream, const Tensor& tensor) {
  if (tensor.device().type == DeviceType::cpu) return tensor;
  const auto bytes = std::make_shared<std::vector<std::byte>>(static_cast<size_t>(tensor.bytes()));
  stream.copy_to_host(bytes->data(), tensor.raw(), tensor.bytes());
  return Tensor::wrap(bytes->data(), tensor.shape(), tensor.dtype(), {}, bytes);
}

Tensor difference(Stream& stream, const Tensor& a, const Tensor& b) {
  require(a.shape() == b.shape(), "difference", "equal shapes are required. Received {} and {}", to_string(a.shape()),
          to_string(b.shape()));
  const auto subtract = [&](const Tensor& x, const Tensor& y) {
    Tensor result = x.to(stream, DType::float32);
    add_scaled(stream, y.to(stream, DType::float32), -1.0, result);
    return result;
  };
  constexpr auto size = static_cast<int64_t>(sizeof(float));
  const bool fits = stream.device().type == DeviceType::cpu || 3 * a.numel() * size <= available_memory(stream);
  if (fits || a.dim() < 2) return subtract(a, b);
  const int64_t cols = a.numel() / a.size(0);
  Tensor result = host_matrix(a.size(0), cols).view(a.shape());
  for (int64_t row = 0; row < a.size(0); row += block_length) {
    const int64_t rows = std::min(block_length, a.size(0) - row);
    const Tensor part = subtract(a.narrow(0, row, rows), b.narrow(0, row, rows));
    stream.copy_to_host(result.data<float>() + row * cols, part.raw(), part.bytes());
  }
  return result;
}

Tensor host_matrix(int64_t rows, int64_t cols) {
  const auto values = std::make_shared<std::vector<float>>(static_cast<size_t>(rows * cols));
  return Tensor::wrap(values->data(), {rows, cols}, DType::float32, {}, values);
}

Tensor to_device(Stream& stream, std::span<const double> values, int64_t cols) {
  return Tensor::from_host<double>(stream, values, {static_cast<int64_t>(values.size()) / cols, cols});
}

}  // namespace subspect::runtime::linalg
