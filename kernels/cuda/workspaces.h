// What the memory that kernels work in consists of. Plain C++, unlike the kernels: memory is also planned where there
// is no GPU (kernels/cuda_workspaces.cpp).
#pragma once

#include <cstdint>

namespace subspect::kernels::gpu {

/// Partial sums over rows: two for each multiprocessor of the largest GPUs.
inline constexpr int64_t max_row_groups = 264;

/// The sort of tokens by their ids.
inline constexpr int sort_digit_bits = 8;
inline constexpr int sort_digits = 1 << sort_digit_bits;
inline constexpr int sort_block_tokens = 2048;

struct alignas(8) IdPosition {
  int32_t id;
  int32_t position;  ///< of the token in the batch
};

/// What a chunk of gradients adds to their norm.
struct NormPartial {
  double sum;
  int64_t nonfinite;
};

}  // namespace subspect::kernels::gpu
