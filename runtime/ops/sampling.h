// Choosing tokens from the scores of a language-model head. Inference only.
#pragma once

#include "runtime/tape.h"

namespace subspect::runtime::ops {

/// Makes present tokens less likely, in place (kernels/sampling.h: the rule of Transformers).
///
/// @param logits  [rows, vocab] float32, changed
/// @param tokens  int32: the ids that are present, row after row
/// @param offsets [rows + 1] int64: row i has tokens [offsets[i], offsets[i + 1])
/// @param penalty above 0; 1 changes nothing
void penalize_repetition(const Execution& on, const Tensor& logits, const Tensor& tokens, const Tensor& offsets,
                         float penalty);

/// The column of each row's highest score, the lowest among equals: [rows] int32. @param logits [rows, vocab] float32
Tensor argmax(const Execution& on, const Tensor& logits);

struct SamplingParams {
  float temperature = 1.0F;  ///< above 0
  int64_t top_k = 0;         ///< keep the k highest scores; 0 for all
  float top_p = 1.0F;        ///< keep the most likely tokens until their probabilities sum to this
};

/// Draws a column of each row of softmax(logits / temperature), filtered: [rows] int32.
///
/// @param logits   [rows, vocab] float32
/// @param uniforms [rows] float32: one number in [0, 1) per row decides its draw
Tensor sample(const Execution& on, const Tensor& logits, const Tensor& uniforms, const SamplingParams& params);

}  // namespace subspect::runtime::ops
