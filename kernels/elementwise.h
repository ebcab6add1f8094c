// Elementwise kernels: sum, scaling, conversion, filling.
#pragma once

#include <cstdint>

#include "kernels/context.h"
#include "kernels/types.h"

namespace subspect::kernels {

/// y[i] = a[i] + b[i] for i < count; y may alias a or b. Arithmetic in float32. T: float, bfloat16.
template <Device D, class T>
void add(Context<D> on, const T* a, const T* b, T* y, int64_t count);

/// y[i] = factor * x[i]; y may alias x. T: float, bfloat16.
template <Device D, class T>
void scale(Context<D> on, const T* x, float factor, T* y, int64_t count);

/// y[i] = x[i], rounded to nearest even where To is narrower; x and y do not overlap.
/// From, To: float, bfloat16, float16, double, in any combination.
template <Device D, class From, class To>
void cast(Context<D> on, const From* x, To* y, int64_t count);

/// y[i] = value (rounded to T). T: float, bfloat16, float16, double, int32_t, int64_t.
template <Device D, class T>
void fill(Context<D> on, T* y, double value, int64_t count);

}  // namespace subspect::kernels
