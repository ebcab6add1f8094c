// Gated activations of the feed-forward block: SwiGLU and GeGLU (Shazeer, 2020).
#pragma once

#include "runtime/tape.h"

namespace subspect::runtime::ops {

enum class Activation : uint8_t {
  silu,       ///< z / (1 + exp(-z)), "silu" of config.json
  gelu_tanh,  ///< the tanh approximation of GELU, "gelu_pytorch_tanh" of config.json
};

/// y = act(gate) * up.
///
/// @param gate_up [T, 2 I]: gate in the first I columns, up in the last; float32 or bfloat16.
/// @return        [T, I] of the same dtype.
Variable gated_activation(const Execution& on, const Variable& gate_up, Activation activation);

inline Variable swiglu(const Execution& on, const Variable& gate_up) {
  return gated_activation(on, gate_up, Activation::silu);
}

}  // namespace subspect::runtime::ops
