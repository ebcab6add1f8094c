// What the tape begins gradients with, and how it sums them.
#pragma once

#include "runtime/tensor.h"

namespace subspect::runtime::ops {

/// target = value, everywhere. Contiguous, float32 or bfloat16.
void fill(Stream& stream, const Tensor& target, double value);

/// target += source, elementwise. Contiguous, same shape and element type (float32 or bfloat16, added in float32).
void add_into(Stream& stream, const Tensor& target, const Tensor& source);

}  // namespace subspect::runtime::ops
