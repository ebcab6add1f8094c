// How CPU kernels cut their work: by sizes alone, never by the number of threads, so that results are reproducible.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/thread_team.h"

namespace subspect::kernels::cpu {

constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

constexpr int64_t round_up(int64_t a, int64_t multiple) {
  return ceil_div(a, multiple) * multiple;
}

/// Elements of a flat loop that one thread takes at a time.
inline constexpr int64_t flat_grain = 16384;

/// Rows that one thread takes at a time when rows are independent.
constexpr int64_t row_grain(int64_t cols) {
  return std::max<int64_t>(1, flat_grain / std::max<int64_t>(1, cols));
}

/// Rows that share one partial sum over rows; at most 64 partials.
constexpr int64_t reduction_block(int64_t rows) {
  return std::max<int64_t>(32, ceil_div(rows, 64));
}

/// Bytes of the partial sums of `rows` rows over `cols` columns.
constexpr int64_t reduction_bytes(int64_t rows, int64_t cols) {
  return ceil_div(rows, reduction_block(rows)) * cols * static_cast<int64_t>(sizeof(float));
}

/// out[j] += sum over i of partials[i * stride + j], in the order of i.
inline void add_partials(ThreadTeam& team, const float* partials, int64_t count, int64_t stride, float* out,
                         int64_t cols) {
  team.for_each_range(cols, 1024, [&](int64_t begin, int64_t end) {
    float sums[1024] = {};
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t j = begin; j < end; ++j) sums[j - begin] += partials[i * stride + j];
    }
    for (int64_t j = begin; j < end; ++j) out[j] += sums[j - begin];
  });
}

}  // namespace subspect::kernels::cpu
