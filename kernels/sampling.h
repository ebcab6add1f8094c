// Choosing the next token from scores.
#pragma once

#include <cstdint>

#include "kernels/context.h"
#include "kernels/types.h"

namespace subspect::kernels {

struct RepetitionPenaltyParams {
  float* logits = nullptr;           ///< [rows, vocab], changed in place
  const int32_t* tokens = nullptr;   ///< ids already present (prompt included), row after row; repeats are harmless
  const int64_t* offsets = nullptr;  ///< [rows + 1]: row i has tokens [offsets[i], offsets[i + 1])
  int64_t rows = 0;
  int64_t vocab = 0;
  float penalty = 1.0F;  ///< above 0
};

/// Scores of present tokens are multiplied by the penalty when negative, else divided by it, once each: the
/// RepetitionPenaltyLogitsProcessor of Transformers (Keskar et al., 2019).
template <Device D>
void repetition_penalty(Context<D> on, const RepetitionPenaltyParams& p);

/// ids[i] = the column of the greatest of logits[i], the lowest among equals; NaN counts as the lowest score.
/// @param logits [rows, vocab]  @param ids [rows]
template <Device D>
void argmax(Context<D> on, const float* logits, int32_t* ids, int64_t rows, int64_t vocab);

struct SampleParams {
  const float* logits = nullptr;   ///< [rows, vocab]
  const float* uniform = nullptr;  ///< [rows]: one number in [0, 1) per row
  int32_t* ids = nullptr;          ///< [rows], written
  int64_t rows = 0;
  int64_t vocab = 0;
  float temperature = 1.0F;   ///< above 0
  int64_t top_k = 0;          ///< keep the k highest scores; 0 for all
  float top_p = 1.0F;         ///< keep the most likely tokens until their probabilities sum to this; 1 for all
  void* workspace = nullptr;  ///< `sample_workspace_bytes`
};

template <Device D>
int64_t sample_workspace_bytes(const SampleParams& p);

/// Draws a column of softmax(logits / temperature), after top-k and then top-p filtering in Transformers' order, by
/// inverting the cumulative distribution (most likely token first, the lower id first among equals) at `uniform`.
/// Unlike Transformers, ties at the k-th score keep the lower ids.
template <Device D>
void sample(Context<D> on, const SampleParams& p);

}  // namespace subspect::kernels
