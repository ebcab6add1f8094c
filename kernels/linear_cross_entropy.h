// The language-model head fused with cross-entropy, in chunks of tokens: scores exist for one chunk at a time, never as
// a [tokens, vocab] matrix.
#pragma once

#include <cstdint>

#include "kernels/context.h"
#include "kernels/types.h"

namespace subspect::kernels {

/// Target of a token that does not count, as PyTorch's `ignore_index`. Any negative target is ignored.
inline constexpr int32_t ignored_target = -100;

template <class T>
struct LinearCrossEntropyParams {
  const T* x = nullptr;                ///< [tokens, dim]
  const T* weight = nullptr;           ///< [vocab, dim]
  const int32_t* targets = nullptr;    ///< [tokens]: in [0, vocab), or negative where the token does not count
  double* loss_sum = nullptr;          ///< [1], written: sum of -log p(target) over the tokens that count, not scaled
  int64_t* target_count = nullptr;     ///< [1], written: tokens that count; nullptr where not wanted
  float* log_probabilities = nullptr;  ///< [tokens], written: log p(target), 0 where ignored; nullptr where not wanted
  T* dx = nullptr;                     ///< [tokens, dim], written: gradient of gradient_scale * loss_sum; nullable
  float* dweight = nullptr;            ///< [vocab, dim], added to: gradient of gradient_scale * loss_sum; nullable
  float gradient_scale = 1.0F;         ///< 1 / (number of counted tokens of the whole optimizer step)
  int64_t tokens = 0;
  int64_t vocab = 0;
  int64_t dim = 0;
  int64_t counted_tokens = -1;  ///< tokens that count, exactly, or -1 when the caller does not know: see below
  int64_t score_bytes = 0;      ///< memory for the scores of a chunk, about; 0: 32 MiB on the CPU, 1 GiB on CUDA
  void* workspace = nullptr;    ///< `linear_cross_entropy_workspace_bytes`
};

template <Device D, class T>
int64_t linear_cross_entropy_workspace_bytes(const LinearCrossEntropyParams<T>& p);

/// Loss, and gradients where asked for, of softmax(x W^T) against the targets. Scores and softmax are float32, the loss
/// is summed in float64. Tokens that do not count have zero gradients. On CUDA they are left out of the products only
/// with `counted_tokens`; otherwise they are multiplied with zeros, and their rows of x must be finite. With a wrong
/// `counted_tokens` the results are wrong, but `target_count` is not, so that it can be checked. T: float, bfloat16.
template <Device D, class T>
void linear_cross_entropy(Context<D> on, const LinearCrossEntropyParams<T>& p);

}  // namespace subspect::kernels
