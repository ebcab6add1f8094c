// The paged key/value cache of generation (Kwon et al., 2023): appending to it, and attention of one new token per
// sequence to it.
#pragma once

#include <cstdint>

#include "kernels/context.h"
#include "kernels/types.h"

namespace subspect::kernels {

template <class T>
struct KvCacheAppendParams {
  const T* k = nullptr;  ///< row t, head h at k[t * k_stride + h * head_dim]
  const T* v = nullptr;
  int64_t k_stride = 0;  ///< elements from one row to the next
  int64_t v_stride = 0;
  const int32_t* slots = nullptr;  ///< [tokens]: page * page_size + offset; negative: the token is skipped
  T* k_cache = nullptr;            ///< [pages, page_size, kv_heads, head_dim]
  T* v_cache = nullptr;            ///< same shape
  int64_t tokens = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
};

/// Copies keys and values of packed tokens to their slots, which differ from each other. T: float, bfloat16.
template <Device D, class T>
void kv_cache_append(Context<D> on, const KvCacheAppendParams<T>& p);

template <class T>
struct DecodeAttentionParams {
  const T* q = nullptr;  ///< sequence b, head h at q[b * q_stride + h * head_dim]
  int64_t q_stride = 0;
  const T* k_cache = nullptr;           ///< [pages, page_size, kv_heads, head_dim]
  const T* v_cache = nullptr;           ///< same shape
  const int32_t* page_table = nullptr;  ///< [sequences, max_pages]: pages of each sequence, in order
  const int32_t* lengths = nullptr;     ///< [sequences]: positions in the cache, the new token's included; at least 1
  T* out = nullptr;                     ///< sequence b, head h at out[b * out_stride + h * head_dim]
  int64_t out_stride = 0;
  int64_t sequences = 0;
  int64_t max_pages = 0;
  int64_t page_size = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;  ///< divides heads
  int64_t head_dim = 0;  ///< 1 to 256
  float scale = 1.0F;
  int64_t window = 0;         ///< last positions that are seen; 0 for all
  void* workspace = nullptr;  ///< `decode_attention_workspace_bytes`
};

template <Device D, class T>
int64_t decode_attention_workspace_bytes(const DecodeAttentionParams<T>& p);

/// Attention of each sequence's new token to its cached positions. A sequence's result does not depend on the others.
/// T: float, bfloat16.
template <Device D, class T>
void decode_attention(Context<D> on, const DecodeAttentionParams<T>& p);

}  // namespace subspect::kernels
