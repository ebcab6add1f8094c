// Optimizer steps, and the global gradient norm that clipping needs.
#pragma once

#include <cstdint>

#include "kernels/context.h"
#include "kernels/types.h"

namespace subspect::kernels {

template <class T>
struct AdamWParams {
  T* param = nullptr;           ///< [count], updated
  float* master = nullptr;      ///< [count], updated: float32 copy of a bfloat16 parameter; nullptr to update `param`
  const float* grad = nullptr;  ///< [count]
  float* moment1 = nullptr;     ///< [count], updated; zero before the first step
  float* moment2 = nullptr;     ///< [count], updated; zero before the first step
  int64_t count = 0;
  float lr = 0;
  float beta1 = 0.9F;
  float beta2 = 0.999F;
  float eps = 1e-8F;
  float weight_decay = 0;
  int64_t step = 1;         ///< of this update, from 1
  float grad_scale = 1.0F;  ///< multiplies the gradient: min(1, max_norm / norm) for clipping
};

/// One step of AdamW (Loshchilov and Hutter, 2019, Algorithm 2) as PyTorch computes it, in float32:
/// p -= lr weight_decay p; p -= lr / (1 - beta1^step) m / (sqrt(v / (1 - beta2^step)) + eps). With a master copy, that
/// is updated and `param` is it rounded. T: float, bfloat16.
template <Device D, class T>
void adamw_step(Context<D> on, const AdamWParams<T>& p);

template <class T>
struct SgdParams {
  T* param = nullptr;           ///< [count], updated
  float* master = nullptr;      ///< [count] or nullptr, as in AdamWParams
  const float* grad = nullptr;  ///< [count]
  float* velocity = nullptr;    ///< [count], updated; zero before the first step; nullptr with momentum 0
  int64_t count = 0;
  float lr = 0;
  float momentum = 0;
  float weight_decay = 0;   ///< decoupled: p -= lr weight_decay p
  float grad_scale = 1.0F;  ///< as in AdamWParams
};

/// velocity = momentum * velocity + grad; p -= lr * velocity (Sutskever et al., 2013, as PyTorch). T: float, bfloat16.
template <Device D, class T>
void sgd_step(Context<D> on, const SgdParams<T>& p);

template <class T>
struct SquaredNormParams {
  const T* x = nullptr;          ///< [count]
  double* sum = nullptr;         ///< [1], added to: sum of x^2 (of the finite elements)
  int64_t* nonfinite = nullptr;  ///< [1], added to: elements that are infinite or NaN
  int64_t count = 0;
  void* workspace = nullptr;  ///< `squared_norm_workspace_bytes`
};

template <Device D, class T>
int64_t squared_norm_workspace_bytes(const SquaredNormParams<T>& p);

/// Squared Euclidean norm in float64 and the check for non-finite values, in one pass. T: float, bfloat16.
template <Device D, class T>
void squared_norm(Context<D> on, const SquaredNormParams<T>& p);

}  // namespace subspect::kernels
