// Rotary position embedding (Su et al., 2021) in the half-split layout of Transformers, on packed query, key and value
// heads, with the optional RMS norm of query and key heads that Qwen3 applies before it.
#pragma once

#include <cstdint>

#include "kernels/context.h"
#include "kernels/types.h"

namespace subspect::kernels {

/// Sizes and angles that both directions share. A row is (heads + 2 kv_heads) * head_dim long: query heads, key heads,
/// value heads. With r = rotary_dim, a head rotates (x[i], x[i + r / 2]) by the angle positions[t] * inv_freq[i] for
/// i < r / 2; its dimensions from r on pass, as do values.
struct RotaryShape {
  const int32_t* positions = nullptr;  ///< [tokens], counted within each document
  const float* inv_freq = nullptr;     ///< [rotary_dim / 2], scaling applied
  float attention_factor = 1.0F;       ///< multiplies cosines and sines
  int64_t tokens = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t rotary_dim = 0;  ///< even, at most head_dim
  float eps = 1e-6F;       ///< of the norms
};

template <class T>
struct RotaryForwardParams {
  RotaryShape shape;
  const T* qkv = nullptr;     ///< [tokens, (heads + 2 kv_heads) * head_dim]
  T* out = nullptr;           ///< same shape; may be qkv itself (in place)
  const T* q_norm = nullptr;  ///< [head_dim]: weight of the norm of each query head; nullptr for none
  const T* k_norm = nullptr;  ///< [head_dim]: of each key head; given exactly when q_norm is
};

/// out = rotate(norm(qkv)) for query and key heads, qkv for value heads. T: float, bfloat16.
template <Device D, class T>
void rotary_forward(Context<D> on, const RotaryForwardParams<T>& p);

template <class T>
struct RotaryBackwardParams {
  RotaryShape shape;
  const T* dout = nullptr;    ///< [tokens, (heads + 2 kv_heads) * head_dim]
  T* dqkv = nullptr;          ///< same shape; may be dout itself (in place)
  const T* qkv = nullptr;     ///< the forward pass's input; read only with norms (nullptr without)
  const T* q_norm = nullptr;  ///< as in the forward pass
  const T* k_norm = nullptr;
  float* dq_norm = nullptr;   ///< [head_dim], added to; nullptr where not wanted
  float* dk_norm = nullptr;   ///< [head_dim], added to; nullptr where not wanted
  void* workspace = nullptr;  ///< `rotary_backward_workspace_bytes`
};

template <Device D, class T>
int64_t rotary_backward_workspace_bytes(const RotaryBackwardParams<T>& p);

/// Gradient of `rotary_forward`: the inverse rotation, then the gradient of the norm. T: float, bfloat16.
template <Device D, class T>
void rotary_backward(Context<D> on, const RotaryBackwardParams<T>& p);

}  // namespace subspect::kernels
