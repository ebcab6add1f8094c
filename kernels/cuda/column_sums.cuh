// Sums over the rows of a matrix in an order that the number of blocks does not change: rows are dealt to at most
// `max_row_groups` groups, each group has a partial sum, and a second kernel adds the partial sums in order.
#pragma once

#include "kernels/cuda/platform.h"

namespace subspect::kernels::gpu {

inline constexpr int64_t max_row_groups = 264;  ///< two for each multiprocessor of the largest GPUs
inline constexpr int column_sum_threads = 256;

/// Rows of one group, and how many groups there are: functions of the shape alone.
GPU_BOTH int64_t rows_of_group(int64_t rows) {
  return rows < 1 ? 1 : ceil_div(rows, max_row_groups);
}
GPU_BOTH int64_t row_groups(int64_t rows) {
  return ceil_div(rows, rows_of_group(rows));
}

/// sums[j] += partials[0, j] + partials[1, j] + ..., with partials [groups, cols].
template <class Unused = void>
GPU_KERNEL(column_sum_threads)
add_partials_kernel(const float* partials, int64_t groups, int64_t cols, float* sums) {
  for (int64_t j = global_thread(); j < cols; j += global_threads()) {
    float sum = 0;
    for (int64_t i = 0; i < groups; ++i) sum += partials[i * cols + j];
    sums[j] += sum;
  }
}

inline void add_partials(const char* name, CUstream_st* stream, const float* partials, int64_t groups, int64_t cols,
                         float* sums) {
  launch(name, add_partials_kernel<>, loop_blocks(cols, column_sum_threads), column_sum_threads, 0, stream, partials,
         groups, cols, sums);
}

}  // namespace subspect::kernels::gpu
