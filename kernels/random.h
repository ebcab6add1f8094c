// Fills from counter-based random numbers.
#pragma once

#include <cstdint>

#include "kernels/context.h"
#include "kernels/types.h"

namespace subspect::kernels {

template <class T>
struct RandomFillParams {
  T* y = nullptr;  ///< [count], written
  int64_t count = 0;
  uint64_t seed = 0;
  uint64_t stream = 0;  ///< which independent sequence of this seed (for example a hash of a tensor's name)
  int64_t offset = 0;   ///< y[i] is element offset + i of the sequence, whatever the offset
  float a = 0;          ///< mean, or lower bound
  float b = 1;          ///< standard deviation, or upper bound
};

/// y[i] ~ N(a, b^2) by Box-Muller from Philox4x32-10 (kernels/philox.h). T: float, bfloat16, double.
template <Device D, class T>
void random_normal(Context<D> on, const RandomFillParams<T>& p);

/// y[i] ~ U[a, b) with 24 random bits. T: float, bfloat16, double.
template <Device D, class T>
void random_uniform(Context<D> on, const RandomFillParams<T>& p);

}  // namespace subspect::kernels
