// Elementwise ops.
#pragma once

#include "runtime/tape.h"

namespace subspect::runtime::ops {

/// a + b; shapes and dtypes equal, float32 or bfloat16.
Variable add(const Execution& on, const Variable& a, const Variable& b);

}  // namespace subspect::runtime::ops
