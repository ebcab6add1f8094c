// Root-mean-square layer normalisation (Zhang and Sennrich, 2019), alone or fused with the residual addition.
#pragma once

#include <cstdint>

#include "kernels/context.h"
#include "kernels/types.h"

namespace subspect::kernels {

template <class T>
struct RmsNormForwardParams {
  const T* x = nullptr;         ///< [rows, cols]
  const T* residual = nullptr;  ///< [rows, cols], added to x before the norm; nullptr for the norm alone
  const T* weight = nullptr;    ///< [cols]
  T* residual_out = nullptr;    ///< [rows, cols]: residual + x; required with `residual`; may alias x or residual
  T* y = nullptr;               ///< [rows, cols]; may alias x
  float* inv_rms = nullptr;     ///< [rows]: 1 / sqrt(mean(h^2) + eps), for the backward pass; may be nullptr
  int64_t rows = 0;
  int64_t cols = 0;
  float eps = 1e-6F;
};

/// y = h * inv_rms * weight, where h = x, or residual + x (rounded to T, as it is stored in residual_out).
/// Arithmetic in float32. T: float, bfloat16.
template <Device D, class T>
void rms_norm_forward(Context<D> on, const RmsNormForwardParams<T>& p);

template <class T>
struct RmsNormBackwardParams {
  const T* h = nullptr;            ///< [rows, cols]: what was normalised (x, or residual_out of the fused form)
  const T* weight = nullptr;       ///< [cols]
  const float* inv_rms = nullptr;  ///< [rows], from the forward pass
  const T* dy = nullptr;           ///< [rows, cols]
  const T* dresidual = nullptr;    ///< [rows, cols]: gradient that reaches residual_out directly; nullptr for none
  T* dx = nullptr;                 ///< [rows, cols]: gradient of h (so of x and of residual); may alias dy or dresidual
  float* dweight = nullptr;        ///< [cols], added to; nullptr where not wanted
  int64_t rows = 0;
  int64_t cols = 0;
  void* workspace = nullptr;  ///< `rms_norm_backward_workspace_bytes`
};

template <Device D, class T>
int64_t rms_norm_backward_workspace_bytes(const RmsNormBackwardParams<T>& p);

/// dx = dresidual + inv_rms * (dy * weight - x_hat * mean(dy * weight * x_hat)), dweight += sum over rows of
/// dy * x_hat, with x_hat = h * inv_rms. T: float, bfloat16.
template <Device D, class T>
void rms_norm_backward(Context<D> on, const RmsNormBackwardParams<T>& p);

}  // namespace subspect::kernels
