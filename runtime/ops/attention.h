// Causal grouped-query attention over packed documents, and its decoding form over a paged key/value cache.
#pragma once

#include "runtime/tape.h"

namespace subspect::runtime::ops {

struct AttentionParams {
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  Tensor cu_seqlens;           ///< [documents + 1] int32 on the stream's device: document i is [cu[i], cu[i + 1])
  int64_t max_len = 0;         ///< length of the longest document
  float scale = 0;             ///< of the scores; 0 means 1 / sqrt(head_dim)
  int64_t sliding_window = 0;  ///< positions that a query sees, itself included; 0 means all
};

/// Each query attends to the keys of its own document at or before its position. No [T, T] matrix is stored.
///
/// @param qkv [T, (heads + 2 kv_heads) * head_dim]: query heads, key heads, value heads; float32 or bfloat16.
/// @return    [T, heads * head_dim] of qkv's dtype.
Variable attention(const Execution& on, const Variable& qkv, const AttentionParams& params);

/// Keys and values of one layer in pages of `page_size` positions. A position's slot is page * page_size + offset.
struct PagedCache {
  Tensor keys;    ///< [pages, page_size, kv_heads, head_dim]
  Tensor values;  ///< same shape and dtype
  int64_t page_size = 0;

  static PagedCache allocate(Stream& stream, int64_t pages, int64_t page_size, int64_t kv_heads, int64_t head_dim,
                             DType dtype);
};

/// Copies the key and value heads of qkv [T, (heads + 2 kv_heads) * head_dim] to slots [T] int32 of the cache (a
/// negative slot is skipped). Inference only.
void append_to_cache(const Execution& on, const Tensor& qkv, int64_t heads, const PagedCache& cache,
                     const Tensor& slots);

struct DecodeAttentionParams {
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  Tensor page_table;           ///< [B, max_pages] int32: pages of each sequence, in order
  Tensor lengths;              ///< [B] int32: positions in the cache, the new token's included
  float scale = 0;             ///< 0 means 1 / sqrt(head_dim)
  int64_t sliding_window = 0;  ///< 0 means all
};

/// Attention of one new token per sequence to its cached keys and values (its own already appended). Inference only.
///
/// @param qkv [B, (heads + 2 kv_heads) * head_dim]
/// @return    [B, heads * head_dim]
Tensor decode_attention(const Execution& on, const Tensor& qkv, const PagedCache& cache,
                        const DecodeAttentionParams& params);

}  // namespace subspect::runtime::ops
