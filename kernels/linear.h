// The three matrix products of a linear layer. Weights are [out, in], as torch.nn.Linear and safetensors store them.
#pragma once

#include <cstdint>

#include "kernels/context.h"
#include "kernels/types.h"

namespace subspect::kernels {

template <class T, class Y = T>
struct LinearForwardParams {
  const T* x = nullptr;       ///< [rows, in]
  const T* weight = nullptr;  ///< [out, in]
  const T* bias = nullptr;    ///< [out], or nullptr
  Y* y = nullptr;             ///< [rows, out]
  int64_t rows = 0;
  int64_t in = 0;
  int64_t out = 0;
};

/// y = x W^T + bias, summed in float32. <T, Y>: <float, float>, <bfloat16, bfloat16>, <bfloat16, float> (logits).
template <Device D, class T, class Y = T>
void linear_forward(Context<D> on, const LinearForwardParams<T, Y>& p);

template <class T>
struct LinearBackwardInputParams {
  const T* dy = nullptr;      ///< [rows, out]
  const T* weight = nullptr;  ///< [out, in]
  T* dx = nullptr;            ///< [rows, in], written
  int64_t rows = 0;
  int64_t in = 0;
  int64_t out = 0;
};

/// dx = dy W. T: float, bfloat16.
template <Device D, class T>
void linear_backward_input(Context<D> on, const LinearBackwardInputParams<T>& p);

template <class T>
struct LinearBackwardWeightParams {
  const T* dy = nullptr;     ///< [rows, out]
  const T* x = nullptr;      ///< [rows, in]
  float* dweight = nullptr;  ///< [out, in], added to
  int64_t rows = 0;
  int64_t in = 0;
  int64_t out = 0;
};

/// dW += dy^T x. T: float, bfloat16.
template <Device D, class T>
void linear_backward_weight(Context<D> on, const LinearBackwardWeightParams<T>& p);

}  // namespace subspect::kernels
