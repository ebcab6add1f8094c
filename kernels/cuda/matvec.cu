// y = x W^T + bias for few rows. A block computes four columns of y: its threads go along the weight's rows together,
// 16 bytes each, and keep a sum for every pair of a row of x and a column of y. What a sum adds, and in which order,
// follows from the width of the loads and from the depth alone.
#include "kernels/cuda/matvec.h"

#include "kernels/cuda/platform.h"

namespace subspect::kernels::gpu {
namespace {

constexpr int threads = 128;
constexpr int warps = threads / warp_size;
constexpr int outputs = 4;  ///< columns of y per block

/// The sums over the warp of `Count` numbers of each lane (a power of two, at most 32): afterwards value[0] is the sum
/// of the numbers with index lane / (32 / Count). At each step half of the numbers go to the lane's partner, so 32 sums
/// take 31 shuffles.
template <int Count, int Offset, int Size>
GPU_DEVICE void warp_sums(float (&value)[Size]) {
  if constexpr (Count > 1) {
    constexpr int half = Count / 2;
    const bool upper = (static_cast<int>(threadIdx.x) & Offset) != 0;
    GPU_UNROLL
    for (int i = 0; i < half; ++i) {
      const float sent = upper ? value[i] : value[i + half];
      const float kept = upper ? value[i + half] : value[i];
      value[i] = kept + shuffle_xor(full_warp, sent, Offset);
    }
    if constexpr (Offset > 1) warp_sums<half, Offset / 2>(value);
  } else {
    value[0] += shuffle_xor(full_warp, value[0], Offset);
    if constexpr (Offset > 1) warp_sums<1, Offset / 2>(value);
  }
}

/// This thread's part of the products of `Rows` rows of x, from `row`, with the weight's rows from `out`; sum
/// [row][output]. Rows beyond the last one are computed as that one.
template <int N, int Rows, class T, class Y>
GPU_DEVICE void add_products(const LinearForwardParams<T, Y>& p, int64_t row, int64_t out,
                             float (&sum)[Rows * outputs]) {
  for (int64_t i = static_cast<int64_t>(threadIdx.x) * N; i < p.in; i += threads * N) {
    Floats<N> weight[outputs];
    GPU_UNROLL
    for (int j = 0; j < outputs; ++j) {
      const int64_t from = out + j < p.out ? out + j : p.out - 1;
      weight[j] = load<N>(p.weight + from * p.in + i);
    }
    GPU_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const int64_t from = row + r < p.rows ? row + r : p.rows - 1;
      const Floats<N> x = load<N>(p.x + from * p.in + i);
      GPU_UNROLL
      for (int j = 0; j < outputs; ++j) {
        GPU_UNROLL
        for (int k = 0; k < N; ++k) {
          sum[r * outputs + j] = fused_multiply_add(x.value[k], weight[j].value[k], sum[r * outputs + j]);
        }
      }
    }
  }
}

/// Blocks: (group of four columns of y, group of `Rows` rows of x), the latter side by side so that they share the
/// weight in the cache.
template <int N, int Rows, class T, class Y>
GPU_KERNEL(threads)
matvec_kernel(LinearForwardParams<T, Y> p, uint32_t row_groups) {
  constexpr int count = Rows * outputs;
  const int64_t row = static_cast<int64_t>(blockIdx.x % row_groups) * Rows;
  const int64_t out = static_cast<int64_t>(blockIdx.x / row_groups) * outputs;
  float sum[count] = {};
  add_products<N, Rows>(p, row, out, sum);
  warp_sums<count, warp_size / 2>(sum);

  GPU_SHARED(float, partial, warps* count);
  const int thread = static_cast<int>(threadIdx.x);
  constexpr int lanes = warp_size / count;  // that hold the same sum
  if (thread % lanes == 0) partial[thread / lanes] = sum[0];
  barrier();
  if (thread >= count) return;
  const int64_t to_row = row + thread / outputs;
  const int64_t to_out = out + thread % outputs;
  if (to_row >= p.rows || to_out >= p.out) return;
  float total = 0;
  for (int warp = 0; warp < warps; ++warp) total += partial[warp * count + thread];
  if (p.bias != nullptr) total += widen(p.bias[to_out]);
  p.y[to_row * p.out + to_out] = narrow<Y>(total);
}

template <int N, int Rows, class T, class Y>
void launch_matvec(CUstream_st* stream, const LinearForwardParams<T, Y>& p) {
  const int64_t row_groups = ceil_div(p.rows, Rows);
  launch("matvec", matvec_kernel<N, Rows, T, Y>, ceil_div(p.out, outputs) * row_groups, threads, 0, stream, p,
         static_cast<uint32_t>(row_groups));
}

template <int N, class T, class Y>
void choose_rows(CUstream_st* stream, const LinearForwardParams<T, Y>& p) {
  if (p.rows == 1) {
    launch_matvec<N, 1>(stream, p);
  } else if (p.rows == 2) {
    launch_matvec<N, 2>(stream, p);
  } else if (p.rows <= 4) {
    launch_matvec<N, 4>(stream, p);
  } else {
    launch_matvec<N, matvec_most_rows>(stream, p);
  }
}

}  // namespace

template <class T, class Y>
void matvec(CUstream_st* stream, const LinearForwardParams<T, Y>& p) {
  if (p.rows == 0 || p.out == 0) return;
  if (aligned_rows(p.in, widest<T>, p.x, p.weight)) {
    choose_rows<widest<T>>(stream, p);
  } else {
    choose_rows<1>(stream, p);
  }
}

template void matvec(CUstream_st*, const LinearForwardParams<float, float>&);
template void matvec(CUstream_st*, const LinearForwardParams<bfloat16, bfloat16>&);
template void matvec(CUstream_st*, const LinearForwardParams<bfloat16, float>&);

}  // namespace subspect::kernels::gpu
