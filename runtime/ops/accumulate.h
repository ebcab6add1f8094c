// Adding one tensor into another: how the tape sums gradients.
#pragma once

#include "runtime/tensor.h"

namespace subspect::runtime::ops {

/// target += source, elementwise. Contiguous, same shape and element type (float32 or bfloat16, added in float32).
void add_into(Stream& stream, const Tensor& target, const Tensor& source);

}  // namespace subspect::runtime::ops
