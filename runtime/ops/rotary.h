// Rotary position embedding (Su et al., 2021) on packed projections, with the optional query/key norm of Qwen3.
#pragma once

#include "runtime/tape.h"

namespace subspect::runtime::ops {

/// Layout of packed projections [T, (heads + 2 kv_heads) * head_dim]: all query heads, then keys, then values.
struct RotaryParams {
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t rotary_dim = 0;         ///< leading dimensions of each head that rotate; 0 means head_dim
  Tensor inv_freq;                ///< [rotary_dim / 2] float32, scaling applied
  float attention_factor = 1.0F;  ///< multiplies cosines and sines (1 but for yarn-like scalings)
  Tensor positions;               ///< [T] int32, counted within each document
  Parameter* q_norm = nullptr;    ///< [head_dim]; RMS norm of each query head before the rotation, or nullptr
  Parameter* k_norm = nullptr;    ///< [head_dim]; given exactly when q_norm is
  float eps = 1e-6F;              ///< of the two norms
};

/// Normalises (if asked) and rotates the query and key heads in the half-split layout of Transformers; values pass.
///
/// @param qkv [T, (heads + 2 kv_heads) * head_dim], float32 or bfloat16. Its memory is reused for the result when the
///            caller moved in the only reference to it and the backward pass does not need it.
/// @return    same shape and dtype.
Variable rotary(const Execution& on, Variable qkv, const RotaryParams& params);

}  // namespace subspect::runtime::ops
