// Bias addition and gradient on CUDA.
#include "kernels/bias.h"

#include "kernels/cuda/column_sums.cuh"

namespace subspect::kernels {
namespace {

using namespace gpu;

constexpr int threads = 256;

template <int N, class T>
GPU_KERNEL(threads)
bias_add_kernel(BiasAddParams<T> p, uint32_t tiles) {
  const RowPosition at = row_position(tiles, N);
  if (at.col >= p.cols) return;
  Floats<N> sum = load<N>(p.x + at.row * p.cols + at.col);
  const Floats<N> bias = load<N>(p.bias + at.col);
  GPU_UNROLL
  for (int j = 0; j < N; ++j) sum.value[j] += bias.value[j];
  store(sum, p.y + at.row * p.cols + at.col);
}

template <int N, class T>
void launch_add(CUstream_st* stream, const BiasAddParams<T>& p) {
  const uint32_t tiles = row_tiles(p.cols, threads, N);
  launch("bias_add", bias_add_kernel<N, T>, p.rows * tiles, threads, 0, stream, p, tiles);
}

/// Block (group, tile) sums one tile of columns over one group of rows.
template <class T>
GPU_KERNEL(threads)
bias_gradient_kernel(BiasGradientParams<T> p, uint32_t tiles) {
  const RowPosition at = row_position(tiles, 1);  // "row" is the group
  if (at.col >= p.cols) return;
  const int64_t begin = at.row * rows_of_group(p.rows);
  const int64_t end = begin + rows_of_group(p.rows) < p.rows ? begin + rows_of_group(p.rows) : p.rows;
  float sum = 0;
  for (int64_t row = begin; row < end; ++row) sum += widen(p.dy[row * p.cols + at.col]);
  static_cast<float*>(p.workspace)[at.row * p.cols + at.col] = sum;
}

}  // namespace

template <Device D, class T>
void bias_add(Context<D> on, const BiasAddParams<T>& p) {
  if (p.rows == 0 || p.cols == 0) return;
  if (aligned_rows(p.cols, widest<T>, p.x, p.bias, p.y)) {
    launch_add<widest<T>>(on.stream, p);
  } else {
    launch_add<1>(on.stream, p);
  }
}

template <Device D, class T>
void bias_gradient(Context<D> on, const BiasGradientParams<T>& p) {
  if (p.rows == 0 || p.cols == 0) return;
  const int64_t groups = row_groups(p.rows);
  const uint32_t tiles = row_tiles(p.cols, threads, 1);
  launch("bias_gradient", bias_gradient_kernel<T>, groups * tiles, threads, 0, on.stream, p, tiles);
  add_partials("bias_gradient_sum", on.stream, static_cast<const float*>(p.workspace), groups, p.cols, p.dbias);
}

template void bias_add(Context<Cuda>, const BiasAddParams<float>&);
template void bias_add(Context<Cuda>, const BiasAddParams<bfloat16>&);
template void bias_gradient(Context<Cuda>, const BiasGradientParams<float>&);
template void bias_gradient(Context<Cuda>, const BiasGradientParams<bfloat16>&);

}  // namespace subspect::kernels
