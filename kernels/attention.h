// Causal grouped-query attention over packed documents, in tiles with an online softmax (Dao, 2023: FlashAttention-2):
// no [tokens, tokens] matrix is ever stored.
#pragma once

#include <cstdint>

#include "kernels/context.h"
#include "kernels/types.h"

namespace subspect::kernels {

/// Sizes that both directions share. Query head h reads key/value head h / (heads / kv_heads). Within its document,
/// query i sees the keys j with j <= i and, with a sliding window, i - j < window.
struct AttentionShape {
  const int32_t* cu_seqlens = nullptr;  ///< [documents + 1]: document i is rows [cu[i], cu[i + 1]); cu[0] = 0
  int64_t documents = 0;
  int64_t tokens = 0;   ///< cu_seqlens[documents]
  int64_t max_len = 0;  ///< length of the longest document (a bound suffices)
  int64_t heads = 0;
  int64_t kv_heads = 0;  ///< divides heads
  int64_t head_dim = 0;  ///< 1 to 256
  float scale = 1.0F;    ///< of the scores, before the softmax
  int64_t window = 0;    ///< positions that a query sees, itself included; 0 for all
};

template <class T>
struct AttentionForwardParams {
  AttentionShape shape;
  const T* q = nullptr;  ///< row t, head h at q[t * q_stride + h * head_dim]
  const T* k = nullptr;
  const T* v = nullptr;
  int64_t q_stride = 0;  ///< elements from one row to the next
  int64_t k_stride = 0;
  int64_t v_stride = 0;
  T* out = nullptr;  ///< row t, head h at out[t * out_stride + h * head_dim]
  int64_t out_stride = 0;
  float* logsumexp = nullptr;  ///< [heads, tokens]: log of the sum of exp(scale q k), for the backward pass; nullable
};

/// out = softmax(scale q k^T + mask) v, computed in float32. T: float, bfloat16.
template <Device D, class T>
void attention_forward(Context<D> on, const AttentionForwardParams<T>& p);

template <class T>
struct AttentionBackwardParams {
  AttentionShape shape;
  const T* q = nullptr;
  const T* k = nullptr;
  const T* v = nullptr;
  int64_t q_stride = 0;
  int64_t k_stride = 0;
  int64_t v_stride = 0;
  const T* out = nullptr;   ///< of the forward pass
  const T* dout = nullptr;  ///< rows as `out`
  int64_t out_stride = 0;
  int64_t dout_stride = 0;
  const float* logsumexp = nullptr;  ///< [heads, tokens], of the forward pass
  T* dq = nullptr;                   ///< written; rows as q
  T* dk = nullptr;                   ///< written; rows as k, summed over the query heads that share it
  T* dv = nullptr;
  int64_t dq_stride = 0;
  int64_t dk_stride = 0;
  int64_t dv_stride = 0;
  void* workspace = nullptr;  ///< `attention_backward_workspace_bytes`
};

template <Device D, class T>
int64_t attention_backward_workspace_bytes(const AttentionBackwardParams<T>& p);

/// Gradients of `attention_forward`; the probabilities are recomputed from logsumexp. T: float, bfloat16.
template <Device D, class T>
void attention_backward(Context<D> on, const AttentionBackwardParams<T>& p);

}  // namespace subspect::kernels
