// The fused head on CUDA: for each chunk of tokens the scores by cuBLASLt, loss and gradient in their place
// (cross_entropy.cu), and two products back. How many tokens count is known on the GPU only, and asking would stall the
// stream: so unless the caller knows, tokens that do not count are multiplied too, with gradients of zero. A caller
// that knows has the others gathered (token_rows.cu): supervised fine-tuning masks most of them.
#include "kernels/linear_cross_entropy.h"

#include <algorithm>

#include "kernels/cuda/cross_entropy.h"
#include "kernels/cuda/head_workspace.h"
#include "kernels/cuda/libraries.h"
#include "kernels/cuda/token_rows.h"

namespace subspect::kernels {
namespace {

using gpu::HeadWorkspace;

/// The rows of a chunk, in the caller's tensors or gathered.
template <class T>
struct Chunk {
  int64_t count = 0;
  const T* x = nullptr;
  const int32_t* targets = nullptr;
  float* log_p = nullptr;
  T* dx = nullptr;  ///< nullptr where not wanted
};

template <class T>
Chunk<T> gather_chunk(Context<Cuda> on, const LinearCrossEntropyParams<T>& p, const HeadWorkspace<T>& w, int64_t first,
                      int64_t count) {
  if (!w.gathered) {
    return {count, p.x + first * p.dim, p.targets + first, w.log_p + first,
            p.dx == nullptr ? nullptr : p.dx + first * p.dim};
  }
  gpu::gather_rows(on.stream, p.x, w.indices + first, w.x, count, p.dim);
  gpu::gather_targets(on.stream, p.targets, w.indices + first, w.targets, count);
  return {count, w.x, w.targets, w.chunk_log_p, p.dx == nullptr ? nullptr : w.dx};
}

template <class T>
void scatter_chunk(Context<Cuda> on, const LinearCrossEntropyParams<T>& p, const HeadWorkspace<T>& w, int64_t first,
                   const Chunk<T>& c) {
  if (!w.gathered) return;
  gpu::scatter_rows(on.stream, c.log_p, w.indices + first, w.log_p, c.count, 1);
  if (c.dx != nullptr) gpu::scatter_rows<T>(on.stream, c.dx, w.indices + first, p.dx, c.count, p.dim);
}

/// Both products with the gradient of the scores, which lies where the scores lay.
template <class T>
void backward_chunk(Context<Cuda> on, const LinearCrossEntropyParams<T>& p, const HeadWorkspace<T>& w,
                    const Chunk<T>& c) {
  gpu::Libraries& libraries = gpu::libraries_of(on, "linear_cross_entropy");
  const T* dscores = reinterpret_cast<const T*>(w.scores);
  const int64_t stride = w.stride * static_cast<int64_t>(sizeof(float)) / static_cast<int64_t>(sizeof(T));
  if (p.dweight != nullptr) {
    gpu::MatrixProduct<T, float> product{dscores, c.x, p.dweight, p.vocab, p.dim, c.count};
    product.a_transposed = true;
    product.a_stride = stride;
    product.accumulate = true;
    libraries.multiply(on.stream, product);
  }
  if (c.dx == nullptr) return;
  gpu::MatrixProduct<T, T> product{dscores, p.weight, c.dx, c.count, p.dim, p.vocab};
  product.a_stride = stride;
  libraries.multiply(on.stream, product);
}

template <class T>
void run_chunk(Context<Cuda> on, const LinearCrossEntropyParams<T>& p, const HeadWorkspace<T>& w, const Chunk<T>& c) {
  gpu::MatrixProduct<T, float> product{c.x, p.weight, w.scores, c.count, p.vocab, p.dim};
  product.b_transposed = true;
  product.c_stride = w.stride;
  gpu::libraries_of(on, "linear_cross_entropy").multiply(on.stream, product);
  const gpu::CrossEntropyRows rows{w.scores, c.targets, c.log_p, c.count, p.vocab, w.stride, p.gradient_scale};
  if (p.dx == nullptr && p.dweight == nullptr) {
    gpu::cross_entropy_forward(on.stream, rows);
    return;
  }
  gpu::cross_entropy_backward<T>(on.stream, rows);
  backward_chunk(on, p, w, c);
}

/// Finds the tokens that count, and clears what belongs to the others.
template <class T>
void prepare_gathering(Context<Cuda> on, const LinearCrossEntropyParams<T>& p, const HeadWorkspace<T>& w) {
  gpu::index_counted(on.stream, p.targets, p.tokens, w.indices, w.multiplied);
  gpu::clear_ignored_rows(on.stream, p.targets, w.log_p, p.tokens, 1);
  if (p.dx != nullptr) gpu::clear_ignored_rows(on.stream, p.targets, p.dx, p.tokens, p.dim);
}

}  // namespace

template <Device D, class T>
void linear_cross_entropy(Context<D> on, const LinearCrossEntropyParams<T>& p) {
  const HeadWorkspace<T> w(p);
  if (w.gathered) prepare_gathering(on, p, w);
  for (int64_t first = 0; first < w.multiplied; first += w.chunk) {
    const Chunk<T> chunk = gather_chunk(on, p, w, first, std::min(w.chunk, w.multiplied - first));
    run_chunk(on, p, w, chunk);
    scatter_chunk(on, p, w, first, chunk);
  }
  gpu::sum_losses(on.stream, {w.log_p, p.targets, p.loss_sum, p.target_count, p.tokens});
}

template void linear_cross_entropy(Context<Cuda>, const LinearCrossEntropyParams<float>&);
template void linear_cross_entropy(Context<Cuda>, const LinearCrossEntropyParams<bfloat16>&);

}  // namespace subspect::kernels
