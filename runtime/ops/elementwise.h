// Elementwise ops.
#pragma once

#include "runtime/tape.h"

namespace subspect::runtime::ops {

/// a + b; shapes and dtypes equal, float32 or bfloat16.
Variable add(const Execution& on, const Variable& a, const Variable& b);

/// target[t] += row for every row t of target [T, D], in place; row [D] of its dtype. Inference only.
void add_row(Stream& stream, const Tensor& target, const Tensor& row);

}  // namespace subspect::runtime::ops
