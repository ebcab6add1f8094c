// Root-mean-square layer normalisation (Zhang and Sennrich, 2019), alone and fused with the residual addition.
#pragma once

#include "runtime/tape.h"

namespace subspect::runtime::ops {

/// y = x / sqrt(mean(x^2) + eps) * weight, row by row, computed in float32.
///
/// @param x      [T, D], float32 or bfloat16, contiguous.
/// @param weight value [D] of x's dtype.
/// @return       [T, D] of x's dtype.
Variable rms_norm(const Execution& on, const Variable& x, Parameter& weight, float eps);

struct AddRmsNorm {
  Variable residual;  ///< residual + x: the new residual stream, [T, D]
  Variable normed;    ///< rms_norm of it, [T, D]
};

/// Adds x to the residual stream and normalises the sum, in one pass over memory.
AddRmsNorm add_rms_norm(const Execution& on, const Variable& residual, const Variable& x, Parameter& weight, float eps);

}  // namespace subspect::runtime::ops
