// The language-model head fused with cross-entropy, in chunks of tokens: no [T, V] matrix ever exists.
#pragma once

#include "runtime/tape.h"

namespace subspect::runtime::ops {

/// Target of a token that does not count (the label of a prompt token), as PyTorch's `ignore_index`.
inline constexpr int32_t ignored_target = -100;

struct CrossEntropy {
  Tensor loss_sum;      ///< [1] float64: sum of -log p(target) over the tokens that count, not scaled
  Tensor target_count;  ///< [1] int64: tokens that count
  Variable loss;        ///< [1] float32: loss_sum * gradient_scale; give it to `Tape::backward(loss)`
};

/// Sum over tokens of -log softmax(x W^T)[target]. The sums stay on the device: reading them waits for the stream.
///
/// With a tape, the gradients of gradient_scale * loss_sum are computed chunk by chunk in this call: that of the
/// weight is added to `weight.grad` here (each recorded call must be followed by its backward pass), that of x is
/// kept and handed out in the backward pass, which is started with `Tape::backward(loss)` (seed one).
///
/// @param x              [T, D], float32 or bfloat16.
/// @param weight         value [V, D] of x's dtype; the tied embedding or the head.
/// @param targets        [T] int32: the id that token t should predict, or `ignored_target`.
/// @param gradient_scale 1 / (number of counted tokens of the whole optimizer step), for the mean of the step.
/// @param counted_tokens tokens that count, exactly, where the caller knows: the others are then left out of the
/// products
///                       on a GPU; -1: not known
CrossEntropy linear_cross_entropy(const Execution& on, const Variable& x, Parameter& weight, const Tensor& targets,
                                  float gradient_scale, int64_t counted_tokens = -1);

/// log softmax(x W^T)[target] of each token, [T] float32; 0 where the target is `ignored_target`. Inference only.
Tensor token_log_probabilities(const Execution& on, const Tensor& x, const Parameter& weight, const Tensor& targets,
                               int64_t counted_tokens = -1);

}  // namespace subspect::runtime::ops
