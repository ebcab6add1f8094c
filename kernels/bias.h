// Bias of a linear layer and its gradient.
#pragma once

#include <cstdint>

#include "kernels/context.h"
#include "kernels/types.h"

namespace subspect::kernels {

template <class T>
struct BiasAddParams {
  const T* x = nullptr;     ///< [rows, cols]
  const T* bias = nullptr;  ///< [cols]
  T* y = nullptr;           ///< [rows, cols]; may alias x
  int64_t rows = 0;
  int64_t cols = 0;
};

/// y[i, j] = x[i, j] + bias[j]. T: float, bfloat16.
template <Device D, class T>
void bias_add(Context<D> on, const BiasAddParams<T>& p);

template <class T>
struct BiasGradientParams {
  const T* dy = nullptr;   ///< [rows, cols]
  float* dbias = nullptr;  ///< [cols], added to
  int64_t rows = 0;
  int64_t cols = 0;
  void* workspace = nullptr;  ///< `bias_gradient_workspace_bytes`
};

template <Device D, class T>
int64_t bias_gradient_workspace_bytes(const BiasGradientParams<T>& p);

/// dbias[j] += sum over i of dy[i, j]. T: float, bfloat16.
template <Device D, class T>
void bias_gradient(Context<D> on, const BiasGradientParams<T>& p);

}  // namespace subspect::kernels
