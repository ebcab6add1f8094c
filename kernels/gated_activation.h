// Gated activations of the feed-forward block: SwiGLU and GeGLU (Shazeer, 2020).
#pragma once

#include <cstdint>

#include "kernels/context.h"
#include "kernels/types.h"

namespace subspect::kernels {

enum class GatedActivation : uint8_t {
  silu,       ///< z / (1 + exp(-z))
  gelu_tanh,  ///< 0.5 z (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3)))
};

template <class T>
struct GatedActivationForwardParams {
  const T* gate_up = nullptr;  ///< [rows, 2 cols]: gate in the first cols columns, up in the last
  T* y = nullptr;              ///< [rows, cols]
  int64_t rows = 0;
  int64_t cols = 0;
  GatedActivation activation = GatedActivation::silu;
};

/// y = act(gate) * up. Arithmetic in float32. T: float, bfloat16.
template <Device D, class T>
void gated_activation_forward(Context<D> on, const GatedActivationForwardParams<T>& p);

template <class T>
struct GatedActivationBackwardParams {
  const T* gate_up = nullptr;  ///< [rows, 2 cols], of the forward pass
  const T* dy = nullptr;       ///< [rows, cols]
  T* dgate_up = nullptr;       ///< [rows, 2 cols]; may alias gate_up
  int64_t rows = 0;
  int64_t cols = 0;
  GatedActivation activation = GatedActivation::silu;
};

/// dgate = dy * up * act'(gate), dup = dy * act(gate). T: float, bfloat16.
template <Device D, class T>
void gated_activation_backward(Context<D> on, const GatedActivationBackwardParams<T>& p);

}  // namespace subspect::kernels
