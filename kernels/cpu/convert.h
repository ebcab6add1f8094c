// Conversions between float and bfloat16 on one thread, by SIMD.
#pragma once

#include <cstdint>

#include "kernels/types.h"

namespace subspect::kernels::cpu {

/// to[i] = from[i] for i < count.
void convert_range(const bfloat16* from, float* to, int64_t count);
/// The same, rounded to nearest even.
void convert_range(const float* from, bfloat16* to, int64_t count);

}  // namespace subspect::kernels::cpu
