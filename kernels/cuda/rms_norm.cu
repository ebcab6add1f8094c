// RMSNorm on CUDA: one block per row at a time. The weight gradient is summed per group of rows into partial sums (one
// block per group, each thread owning its columns, in shared memory where they fit), then over the groups.
#include "kernels/rms_norm.h"

#include "kernels/cuda/column_sums.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/spread.cuh"

namespace subspect::kernels {
namespace {

using namespace gpu;

constexpr int threads = 256;
constexpr int64_t most_shared_cols = 24576;  ///< 96 KB of sums, which every GPU since compute capability 8.0 has

template <int N, class T>
GPU_KERNEL(threads)
rms_norm_forward_kernel(RmsNormForwardParams<T> p) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * p.cols;
  const int64_t first = static_cast<int64_t>(threadIdx.x) * N;
  const T* h = p.residual == nullptr ? p.x + row : p.residual_out + row;
  float squares = 0;
  for (int64_t i = first; i < p.cols; i += threads * N) {
    Floats<N> value = load<N>(p.x + row + i);
    if (p.residual != nullptr) {
      const Floats<N> residual = load<N>(p.residual + row + i);
      GPU_UNROLL
      for (int j = 0; j < N; ++j) value.value[j] = widen(narrow<T>(residual.value[j] + value.value[j]));
      store(value, p.residual_out + row + i);
    }
    GPU_UNROLL
    for (int j = 0; j < N; ++j) squares += value.value[j] * value.value[j];
  }
  const float inv_rms = 1.0F / square_root(block_sum(squares) / static_cast<float>(p.cols) + p.eps);
  if (threadIdx.x == 0 && p.inv_rms != nullptr) p.inv_rms[blockIdx.x] = inv_rms;
  for (int64_t i = first; i < p.cols; i += threads * N) {  // each thread reads what it wrote
    Floats<N> y = load<N>(h + i);
    const Floats<N> weight = load<N>(p.weight + i);
    GPU_UNROLL
    for (int j = 0; j < N; ++j) y.value[j] *= inv_rms * weight.value[j];
    store(y, p.y + row + i);
  }
}

/// sums += products factor, or = for the first row.
template <int N>
GPU_DEVICE void add_row(const Floats<N>& products, float factor, float* sums, int i, int cols, bool first_row) {
  Floats<N> sum{};
  if (!first_row) sum = load_spread<N>(sums, i, cols);
  GPU_UNROLL
  for (int j = 0; j < N; ++j) sum.value[j] += products.value[j] * factor;
  store_spread(sum, sums, i, cols);
}

/// dx of one row, and the row's share of dweight added to `sums` (a spread row of cols, nullptr for none).
template <int N, class T>
GPU_DEVICE void backward_row(const RmsNormBackwardParams<T>& p, int64_t row, float* sums, bool first_row) {
  const int64_t offset = row * p.cols;
  const int64_t first = static_cast<int64_t>(threadIdx.x) * N;
  const float inv_rms = p.inv_rms[row];
  float dot = 0;
  for (int64_t i = first; i < p.cols; i += threads * N) {
    const Floats<N> h = load<N>(p.h + offset + i);
    const Floats<N> dy = load<N>(p.dy + offset + i);
    const Floats<N> weight = load<N>(p.weight + i);
    Floats<N> product;
    GPU_UNROLL
    for (int j = 0; j < N; ++j) {
      product.value[j] = dy.value[j] * h.value[j];
      dot += product.value[j] * weight.value[j];
    }
    if (sums != nullptr) add_row(product, inv_rms, sums, static_cast<int>(i), static_cast<int>(p.cols), first_row);
  }
  const float projection = block_sum(dot) * inv_rms * inv_rms / static_cast<float>(p.cols);
  for (int64_t i = first; i < p.cols; i += threads * N) {
    const Floats<N> h = load<N>(p.h + offset + i);
    Floats<N> dx = load<N>(p.dy + offset + i);
    const Floats<N> weight = load<N>(p.weight + i);
    GPU_UNROLL
    for (int j = 0; j < N; ++j) dx.value[j] = inv_rms * (dx.value[j] * weight.value[j] - h.value[j] * projection);
    if (p.dresidual != nullptr) {
      const Floats<N> dresidual = load<N>(p.dresidual + offset + i);
      GPU_UNROLL
      for (int j = 0; j < N; ++j) dx.value[j] += dresidual.value[j];
    }
    store(dx, p.dx + offset + i);
  }
}

template <int N, class T>
GPU_KERNEL(threads)
rms_norm_backward_kernel(RmsNormBackwardParams<T> p, bool in_shared) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * rows_of_group(p.rows);
  const int64_t end = begin + rows_of_group(p.rows) < p.rows ? begin + rows_of_group(p.rows) : p.rows;
  float* partial = p.dweight == nullptr ? nullptr : static_cast<float*>(p.workspace) + blockIdx.x * p.cols;
  float* sums = in_shared ? dynamic_smem<float>() : partial;
  for (int64_t row = begin; row < end; ++row) backward_row<N>(p, row, sums, row == begin);
  if (!in_shared) return;
  barrier();
  const auto cols = static_cast<int>(p.cols);
  for (int i = static_cast<int>(threadIdx.x); i < cols; i += threads) partial[i] = sums[spread<N>(i, cols)];
}

}  // namespace

template <Device D, class T>
void rms_norm_forward(Context<D> on, const RmsNormForwardParams<T>& p) {
  if (p.rows == 0 || p.cols == 0) return;
  constexpr int N = widest<T>;
  if (aligned_rows(p.cols, N, p.x, p.residual, p.weight, p.residual == nullptr ? nullptr : p.residual_out, p.y)) {
    launch("rms_norm_forward", rms_norm_forward_kernel<N, T>, p.rows, threads, 0, on.stream, p);
  } else {
    launch("rms_norm_forward", rms_norm_forward_kernel<1, T>, p.rows, threads, 0, on.stream, p);
  }
}

template <Device D, class T>
void rms_norm_backward(Context<D> on, const RmsNormBackwardParams<T>& p) {
  if (p.rows == 0 || p.cols == 0) return;
  constexpr int N = widest<T>;
  const int64_t groups = row_groups(p.rows);
  const bool in_shared = p.dweight != nullptr && p.cols <= most_shared_cols;
  const size_t bytes = in_shared ? static_cast<size_t>(p.cols) * sizeof(float) : 0;
  // Sums in the workspace are read by columns, so they are not spread there.
  const bool may_spread = in_shared || p.dweight == nullptr;
  if (may_spread && aligned_rows(p.cols, N, p.h, p.weight, p.dy, p.dresidual, p.dx)) {
    launch("rms_norm_backward", rms_norm_backward_kernel<N, T>, groups, threads, bytes, on.stream, p, in_shared);
  } else {
    launch("rms_norm_backward", rms_norm_backward_kernel<1, T>, groups, threads, bytes, on.stream, p, in_shared);
  }
  if (p.dweight == nullptr) return;
  add_partials("rms_norm_weight_sum", on.stream, static_cast<const float*>(p.workspace), groups, p.cols, p.dweight);
}

template void rms_norm_forward(Context<Cuda>, const RmsNormForwardParams<float>&);
template void rms_norm_forward(Context<Cuda>, const RmsNormForwardParams<bfloat16>&);
template void rms_norm_backward(Context<Cuda>, const RmsNormBackwardParams<float>&);
template void rms_norm_backward(Context<Cuda>, const RmsNormBackwardParams<bfloat16>&);

}  // namespace subspect::kernels
