// Linear layers.
#pragma once

#include "runtime/tape.h"

namespace subspect::runtime::ops {

/// y = x W^T + b.
///
/// @param x      [T, in], float32 or bfloat16, contiguous.
/// @param weight value [out, in] of x's dtype (the layout of torch.nn.Linear and of safetensors).
/// @param bias   value [out] of x's dtype, or nullptr.
/// @return       [T, out] of x's dtype.
Variable linear(const Execution& on, const Variable& x, Parameter& weight, Parameter* bias = nullptr);

/// Logits of a language-model head: x W^T in float32 whatever the dtype of x. Inference only.
///
/// @param x      [T, D]
/// @param weight value [V, D]
/// @return       [T, V] float32
Tensor logits(const Execution& on, const Tensor& x, const Parameter& weight);

}  // namespace subspect::runtime::ops
