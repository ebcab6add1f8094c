// Embedding lookup and its gradient.
#pragma once

#include <cstdint>

#include "kernels/context.h"
#include "kernels/types.h"

namespace subspect::kernels {

template <class T>
struct EmbeddingForwardParams {
  const T* table = nullptr;      ///< [vocab, dim]
  const int32_t* ids = nullptr;  ///< [tokens], each in [0, vocab); the caller guarantees it
  T* y = nullptr;                ///< [tokens, dim]
  int64_t tokens = 0;
  int64_t vocab = 0;
  int64_t dim = 0;
};

/// y[t] = table[ids[t]]. Also selects rows of any matrix. T: float, bfloat16.
template <Device D, class T>
void embedding_forward(Context<D> on, const EmbeddingForwardParams<T>& p);

template <class T>
struct EmbeddingBackwardParams {
  const T* dy = nullptr;         ///< [tokens, dim]
  const int32_t* ids = nullptr;  ///< [tokens], each in [0, vocab)
  float* dtable = nullptr;       ///< [vocab, dim], added to
  int64_t tokens = 0;
  int64_t vocab = 0;
  int64_t dim = 0;
  void* workspace = nullptr;  ///< `embedding_backward_workspace_bytes`
};

template <Device D, class T>
int64_t embedding_backward_workspace_bytes(const EmbeddingBackwardParams<T>& p);

/// dtable[ids[t]] += dy[t], in the order of t for every row of the table, so that the sum is reproducible.
/// T: float, bfloat16.
template <Device D, class T>
void embedding_backward(Context<D> on, const EmbeddingBackwardParams<T>& p);

}  // namespace subspect::kernels
