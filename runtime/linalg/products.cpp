// Tiled products on OpenBLAS.
#include "runtime/linalg/products.h"

#include <cblas.h>

#include <algorithm>
#include <vector>

#include "kernels/thread_team.h"

// OpenBLAS's own; other implementations of CBLAS do not have it.
extern "C" void openblas_set_num_threads(int threads);

namespace subspect::runtime::linalg {

namespace {

// Fixed sizes: a result must not depend on how many threads share the tiles.
constexpr int64_t tile_rows = 256;
constexpr int64_t tile_cols = 1024;
constexpr int64_t gram_tile = 256;
constexpr int64_t gram_block = 1024;  // rows or columns widened to float64 at a time
constexpr int64_t sum_chunk = 1 << 16;

CBLAS_TRANSPOSE to_cblas(Op op) {
  return op == Op::none ? CblasNoTrans : CblasTrans;
}

int to_int(int64_t value) {
  return static_cast<int>(value);
}

void gemm(Op op_a, Op op_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda, const float* b,
          int64_t ldb, float beta, float* c, int64_t ldc) {
  cblas_sgemm(CblasRowMajor, to_cblas(op_a), to_cblas(op_b), to_int(m), to_int(n), to_int(k), alpha, a, to_int(lda), b,
              to_int(ldb), beta, c, to_int(ldc));
}

void gemm(Op op_a, Op op_b, int64_t m, int64_t n, int64_t k, double alpha, const double* a, int64_t lda,
          const double* b, int64_t ldb, double beta, double* c, int64_t ldc) {
  cblas_dgemm(CblasRowMajor, to_cblas(op_a), to_cblas(op_b), to_int(m), to_int(n), to_int(k), alpha, a, to_int(lda), b,
              to_int(ldb), beta, c, to_int(ldc));
}

template <class T>
void multiply_tiled(CpuContext context, Op op_a, MatrixRef<const T> a, Op op_b, MatrixRef<const T> b, MatrixRef<T> c,
                    ProductScale scale) {
  use_single_threaded_blas();
  if (c.rows == 0 || c.cols == 0) return;
  const int64_t inner = op_a == Op::none ? a.cols : a.rows;
  const int64_t tiles_down = (c.rows + tile_rows - 1) / tile_rows;
  const int64_t tiles_across = (c.cols + tile_cols - 1) / tile_cols;
  context.team->for_each_chunk(tiles_down * tiles_across, [&](int64_t tile) {
    const int64_t i = tile / tiles_across * tile_rows;
    const int64_t j = tile % tiles_across * tile_cols;
    const T* tile_a = a.data + (op_a == Op::none ? i * a.stride : i);
    const T* tile_b = b.data + (op_b == Op::none ? j : j * b.stride);
    gemm(op_a, op_b, std::min(tile_rows, c.rows - i), std::min(tile_cols, c.cols - j), inner,
         static_cast<T>(scale.alpha), tile_a, a.stride, tile_b, b.stride, static_cast<T>(scale.beta),
         c.data + i * c.stride + j, c.stride);
  });
}

/// Rows [row, row + rows) and columns [col, col + cols) of x, times `scale`, as float64 in `out` ([rows, cols]).
void widen(CpuContext context, FloatMatrix x, int64_t row, int64_t rows, int64_t col, int64_t cols, double scale,
           double* out) {
  context.team->for_each_range(rows, std::max<int64_t>(1, sum_chunk / std::max<int64_t>(cols, 1)),
                               [&](int64_t begin, int64_t end) {
                                 for (int64_t i = begin; i < end; ++i) {
                                   const float* source = x.data + (row + i) * x.stride + col;
                                   double* target = out + i * cols;
                                   for (int64_t j = 0; j < cols; ++j) target[j] = scale * source[j];
                                 }
                               });
}

/// Adds (or, for the first block, writes) one block's products to the lower triangle of `out` [n, n].
/// `by_rows`: out += block block^T with block [n, depth]; else out += block^T block with block [depth, n].
void accumulate_gram(CpuContext context, bool by_rows, const double* block, int64_t n, int64_t depth, bool first,
                     double* out) {
  const int64_t tiles = (n + gram_tile - 1) / gram_tile;
  context.team->for_each_chunk(tiles * tiles, [&](int64_t tile) {
    const int64_t i = tile / tiles * gram_tile;
    const int64_t j = tile % tiles * gram_tile;
    if (j > i) return;
    const int64_t stride = by_rows ? depth : n;
    gemm(by_rows ? Op::none : Op::transpose, by_rows ? Op::transpose : Op::none, std::min(gram_tile, n - i),
         std::min(gram_tile, n - j), depth, 1.0, by_rows ? block + i * depth : block + i, stride,
         by_rows ? block + j * depth : block + j, stride, first ? 0.0 : 1.0, out + i * n + j, n);
  });
}

void mirror_lower(double* matrix, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < i; ++j) matrix[j * n + i] = matrix[i * n + j];
  }
}

/// Sums `term(begin, end)` over fixed chunks in order.
template <class Term>
double chunked_sum(CpuContext context, int64_t count, Term&& term) {
  const int64_t chunks = (count + sum_chunk - 1) / sum_chunk;
  std::vector<double> partial(static_cast<size_t>(chunks), 0.0);
  context.team->for_each_chunk(chunks, [&](int64_t chunk) {
    const int64_t begin = chunk * sum_chunk;
    partial[static_cast<size_t>(chunk)] = term(begin, std::min(count, begin + sum_chunk));
  });
  double sum = 0.0;
  for (const double part : partial) sum += part;
  return sum;
}

}  // namespace

void use_single_threaded_blas() {
  static const bool done = [] {
    openblas_set_num_threads(1);
    return true;
  }();
  static_cast<void>(done);
}

void multiply(CpuContext context, Op op_a, FloatMatrix a, Op op_b, FloatMatrix b, MatrixRef<float> c,
              ProductScale scale) {
  multiply_tiled<float>(context, op_a, a, op_b, b, c, scale);
}

void multiply(CpuContext context, Op op_a, DoubleMatrix a, Op op_b, DoubleMatrix b, MatrixRef<double> c,
              ProductScale scale) {
  multiply_tiled<double>(context, op_a, a, op_b, b, c, scale);
}

void gram_of_rows(CpuContext context, FloatMatrix x, double scale, double* out) {
  use_single_threaded_blas();
  std::fill(out, out + x.rows * x.rows, 0.0);
  std::vector<double> block(static_cast<size_t>(x.rows * std::min(gram_block, x.cols)));
  for (int64_t col = 0; col < x.cols; col += gram_block) {
    const int64_t depth = std::min(gram_block, x.cols - col);
    widen(context, x, 0, x.rows, col, depth, scale, block.data());
    accumulate_gram(context, true, block.data(), x.rows, depth, col == 0, out);
  }
  mirror_lower(out, x.rows);
}

void gram_of_cols(CpuContext context, FloatMatrix x, double scale, double* out) {
  use_single_threaded_blas();
  std::fill(out, out + x.cols * x.cols, 0.0);
  std::vector<double> block(static_cast<size_t>(x.cols * std::min(gram_block, x.rows)));
  for (int64_t row = 0; row < x.rows; row += gram_block) {
    const int64_t depth = std::min(gram_block, x.rows - row);
    widen(context, x, row, depth, 0, x.cols, scale, block.data());
    accumulate_gram(context, false, block.data(), x.cols, depth, row == 0, out);
  }
  mirror_lower(out, x.cols);
}

void multiply_transposed_wide(CpuContext context, FloatMatrix a, FloatMatrix b, MatrixRef<double> out) {
  const int64_t step = std::min(gram_block, a.rows);
  std::vector<double> block_a(static_cast<size_t>(step * a.cols));
  std::vector<double> block_b(static_cast<size_t>(step * b.cols));
  for (int64_t row = 0; row < a.rows; row += gram_block) {
    const int64_t depth = std::min(gram_block, a.rows - row);
    widen(context, a, row, depth, 0, a.cols, 1.0, block_a.data());
    widen(context, b, row, depth, 0, b.cols, 1.0, block_b.data());
    multiply(context, Op::transpose, DoubleMatrix(block_a.data(), depth, a.cols), Op::none,
             DoubleMatrix(block_b.data(), depth, b.cols), out, {1.0, row == 0 ? 0.0 : 1.0});
  }
}

void multiply_by_rows(CpuContext context, DoubleMatrix t, FloatMatrix x, MatrixRef<float> out) {
  const int64_t step = std::min(gram_block, x.rows);
  std::vector<double> block(static_cast<size_t>(step * x.cols));
  std::vector<double> product(static_cast<size_t>(step * t.rows));
  for (int64_t row = 0; row < x.rows; row += gram_block) {
    const int64_t depth = std::min(gram_block, x.rows - row);
    widen(context, x, row, depth, 0, x.cols, 1.0, block.data());
    multiply(context, Op::none, t, Op::transpose, DoubleMatrix(block.data(), depth, x.cols),
             MatrixRef<double>(product.data(), t.rows, depth));
    context.team->for_each_range(t.rows, 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        float* target = out.data + i * out.stride + row;
        const double* source = product.data() + i * depth;
        for (int64_t j = 0; j < depth; ++j) target[j] = static_cast<float>(source[j]);
      }
    });
  }
}

void multiply_narrow(CpuContext context, Op op_x, FloatMatrix x, DoubleMatrix p, MatrixRef<double> out) {
  const int64_t step = std::min(gram_block, x.rows);
  std::vector<double> block(static_cast<size_t>(step * x.cols));
  for (int64_t row = 0; row < x.rows; row += gram_block) {
    const int64_t depth = std::min(gram_block, x.rows - row);
    widen(context, x, row, depth, 0, x.cols, 1.0, block.data());
    const DoubleMatrix wide(block.data(), depth, x.cols);
    if (op_x == Op::none) {
      multiply(context, Op::none, wide, Op::none, p,
               MatrixRef<double>(out.data + row * out.stride, depth, out.cols, out.stride));
    } else {
      multiply(context, Op::transpose, wide, Op::none, DoubleMatrix(p.data + row * p.stride, depth, p.cols, p.stride),
               out, {1.0, row == 0 ? 0.0 : 1.0});
    }
  }
}

void solve_lower(CpuContext context, const double* lower, MatrixRef<float> x) {
  use_single_threaded_blas();
  constexpr int64_t strip = 128;
  std::vector<double> block(static_cast<size_t>(x.rows * std::min(gram_block, x.cols)));
  for (int64_t col = 0; col < x.cols; col += gram_block) {
    const int64_t width = std::min(gram_block, x.cols - col);
    widen(context, x, 0, x.rows, col, width, 1.0, block.data());
    context.team->for_each_range(width, strip, [&](int64_t begin, int64_t end) {
      cblas_dtrsm(CblasRowMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, to_int(x.rows), to_int(end - begin),
                  1.0, lower, to_int(x.rows), block.data() + begin, to_int(width));
      for (int64_t i = 0; i < x.rows; ++i) {
        for (int64_t j = begin; j < end; ++j) {
          x.data[i * x.stride + col + j] = static_cast<float>(block[static_cast<size_t>(i * width + j)]);
        }
      }
    });
  }
}

double squared_norm(CpuContext context, const float* values, int64_t count) {
  return inner_product(context, values, values, count);
}

double inner_product(CpuContext context, const float* a, const float* b, int64_t count) {
  return chunked_sum(context, count, [&](int64_t begin, int64_t end) {
    double lanes[8] = {};
    int64_t i = begin;
    for (; i + 8 <= end; i += 8) {
      for (int lane = 0; lane < 8; ++lane) {
        lanes[lane] += static_cast<double>(a[i + lane]) * static_cast<double>(b[i + lane]);
      }
    }
    double sum = 0.0;
    for (; i < end; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    for (const double lane : lanes) sum += lane;
    return sum;
  });
}

}  // namespace subspect::runtime::linalg
