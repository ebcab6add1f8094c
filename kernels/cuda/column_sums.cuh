// Sums over the rows of a matrix in an order that the number of blocks does not change: rows are dealt to at most
// `max_row_groups` groups, each group has a partial sum, and a second kernel adds the partial sums in a fixed order.
#pragma once

#include "kernels/cuda/platform.h"
#include "kernels/cuda/workspaces.h"

namespace subspect::kernels::gpu {

inline constexpr int column_sum_threads = 256;

/// Rows of one group, and how many groups there are: functions of the shape alone.
GPU_BOTH int64_t rows_of_group(int64_t rows) {
  return rows < 1 ? 1 : ceil_div(rows, max_row_groups);
}
GPU_BOTH int64_t row_groups(int64_t rows) {
  return ceil_div(rows, rows_of_group(rows));
}

/// sums[j] += partials[0, j] + partials[1, j] + ..., with partials [groups, cols]: a block takes 32 columns, each warp
/// every eighth group, and the warps' sums are added in order.
template <class Unused = void>
GPU_KERNEL(column_sum_threads)
add_partials_kernel(const float* partials, int64_t groups, int64_t cols, float* sums) {
  GPU_SHARED(float, shares, column_sum_threads);
  const int64_t col = static_cast<int64_t>(blockIdx.x) * warp_size + threadIdx.x % warp_size;
  const int warp = static_cast<int>(threadIdx.x) / warp_size;
  float share = 0;
  if (col < cols) {
    for (int64_t i = warp; i < groups; i += column_sum_threads / warp_size) share += partials[i * cols + col];
  }
  shares[threadIdx.x] = share;
  barrier();
  if (warp != 0 || col >= cols) return;
  float sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < column_sum_threads; i += warp_size) sum += shares[i];
  sums[col] += sum;
}

inline void add_partials(const char* name, CUstream_st* stream, const float* partials, int64_t groups, int64_t cols,
                         float* sums) {
  launch(name, add_partials_kernel<>, ceil_div(cols, warp_size), column_sum_threads, 0, stream, partials, groups, cols,
         sums);
}

}  // namespace subspect::kernels::gpu
