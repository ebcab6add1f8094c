// Softmax and cross-entropy over rows of scores: what of the fused head is neither product nor bookkeeping.
#pragma once

#include <cstdint>

#include "kernels/context.h"
#include "kernels/types.h"

namespace subspect::kernels::gpu {

/// Scores from one row to the next: a multiple of this, so that rows are read 16 bytes at a time.
inline constexpr int64_t score_row_multiple = 16;

struct CrossEntropyRows {
  float* scores = nullptr;             ///< [rows, stride], aligned to 16 bytes; what lies beyond `vocab` is ignored
  const int32_t* targets = nullptr;    ///< [rows]: in [0, vocab), or negative where the row does not count
  float* log_probabilities = nullptr;  ///< [rows], written: log p(target), 0 for rows that do not count
  int64_t rows = 0;
  int64_t vocab = 0;
  int64_t stride = 0;  ///< a multiple of `score_row_multiple`
  float gradient_scale = 1.0F;
};

/// log softmax(scores)[target] of each row.
void cross_entropy_forward(CUstream_st* stream, const CrossEntropyRows& p);

/// The same, and in place of the scores gradient_scale times the gradient of -log softmax(scores)[target]: `vocab`
/// numbers of type T at the beginning of each row, so that the gradient's rows are `stride * 4 / sizeof(T)` elements
/// apart. The scores are lost. T: float, bfloat16.
template <class T>
void cross_entropy_backward(CUstream_st* stream, const CrossEntropyRows& p);

struct LossSum {
  const float* log_probabilities = nullptr;  ///< [tokens]
  const int32_t* targets = nullptr;          ///< [tokens], negative where the token does not count
  double* loss_sum = nullptr;                ///< [1], written: minus the sum over the tokens that count
  int64_t* target_count = nullptr;           ///< [1], written; nullptr where not wanted
  int64_t tokens = 0;
};

/// Sums in float64, in an order that the number of tokens determines.
void sum_losses(CUstream_st* stream, const LossSum& p);

}  // namespace subspect::kernels::gpu
