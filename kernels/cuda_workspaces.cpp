// Memory that the CUDA kernels of training work in. Part of every build: what a run needs on a GPU can be asked
// anywhere.
#include <algorithm>

#include "kernels/attention.h"
#include "kernels/bias.h"
#include "kernels/cuda/head_workspace.h"
#include "kernels/cuda/workspaces.h"
#include "kernels/embedding.h"
#include "kernels/linear_cross_entropy.h"
#include "kernels/optimizer.h"
#include "kernels/rms_norm.h"
#include "kernels/rotary.h"

namespace subspect::kernels {
namespace {

constexpr int64_t float_size = sizeof(float);

int64_t row_group_bytes(int64_t rows, int64_t cols) {
  return std::min(rows, gpu::max_row_groups) * cols * float_size;
}

}  // namespace

template <Device D, class T>
int64_t rms_norm_backward_workspace_bytes(const RmsNormBackwardParams<T>& p) {
  return row_group_bytes(p.rows, p.cols);
}

template <Device D, class T>
int64_t bias_gradient_workspace_bytes(const BiasGradientParams<T>& p) {
  return row_group_bytes(p.rows, p.cols);
}

template <Device D, class T>
int64_t rotary_backward_workspace_bytes(const RotaryBackwardParams<T>& p) {
  return p.q_norm == nullptr ? 0 : row_group_bytes(p.shape.tokens, 2 * p.shape.head_dim);
}

template <Device D, class T>
int64_t attention_backward_workspace_bytes(const AttentionBackwardParams<T>& p) {
  return p.shape.heads * p.shape.tokens * float_size;
}

template <Device D, class T>
int64_t embedding_backward_workspace_bytes(const EmbeddingBackwardParams<T>& p) {
  const int64_t blocks = (p.tokens + gpu::sort_block_tokens - 1) / gpu::sort_block_tokens;
  return 2 * p.tokens * static_cast<int64_t>(sizeof(gpu::IdPosition)) +
         blocks * gpu::sort_digits * static_cast<int64_t>(sizeof(int32_t));
}

template <Device D>
int64_t squared_norm_workspace_bytes(const SquaredNormParams& p) {
  return p.list.chunk_count * static_cast<int64_t>(sizeof(gpu::NormPartial));
}

template <Device D, class T>
int64_t linear_cross_entropy_workspace_bytes(const LinearCrossEntropyParams<T>& p) {
  return gpu::HeadWorkspace<T>(p).bytes;
}

template int64_t rms_norm_backward_workspace_bytes<Cuda>(const RmsNormBackwardParams<float>&);
template int64_t rms_norm_backward_workspace_bytes<Cuda>(const RmsNormBackwardParams<bfloat16>&);
template int64_t bias_gradient_workspace_bytes<Cuda>(const BiasGradientParams<float>&);
template int64_t bias_gradient_workspace_bytes<Cuda>(const BiasGradientParams<bfloat16>&);
template int64_t rotary_backward_workspace_bytes<Cuda>(const RotaryBackwardParams<float>&);
template int64_t rotary_backward_workspace_bytes<Cuda>(const RotaryBackwardParams<bfloat16>&);
template int64_t attention_backward_workspace_bytes<Cuda>(const AttentionBackwardParams<float>&);
template int64_t attention_backward_workspace_bytes<Cuda>(const AttentionBackwardParams<bfloat16>&);
template int64_t embedding_backward_workspace_bytes<Cuda>(const EmbeddingBackwardParams<float>&);
template int64_t embedding_backward_workspace_bytes<Cuda>(const EmbeddingBackwardParams<bfloat16>&);
template int64_t squared_norm_workspace_bytes<Cuda>(const SquaredNormParams&);
template int64_t linear_cross_entropy_workspace_bytes<Cuda>(const LinearCrossEntropyParams<float>&);
template int64_t linear_cross_entropy_workspace_bytes<Cuda>(const LinearCrossEntropyParams<bfloat16>&);

}  // namespace subspect::kernels
