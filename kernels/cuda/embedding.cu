// Embedding on CUDA. The backward pass links the tokens of each id into a chain in token order, then one block per
// chain sums its rows in that order: reproducible without float atomics, and the CPU kernel's bits.
#include "kernels/embedding.h"

#include "kernels/cuda/platform.h"

namespace subspect::kernels {
namespace {

using namespace gpu;

constexpr int threads = 256;

template <int N, class T>
GPU_KERNEL(threads)
embedding_forward_kernel(EmbeddingForwardParams<T> p, uint32_t tiles) {
  const RowPosition at = row_position(tiles, N);
  if (at.col >= p.dim) return;
  store(load<N>(p.table + p.ids[at.row] * p.dim + at.col), p.y + at.row * p.dim + at.col);
}

template <int N, class T>
void launch_forward(CUstream_st* stream, const EmbeddingForwardParams<T>& p) {
  const uint32_t tiles = row_tiles(p.dim, threads, N);
  launch("embedding_forward", embedding_forward_kernel<N, T>, p.tokens * tiles, threads, 0, stream, p, tiles);
}

/// next[t] = the next token with the id of t, or -1; follows[next[t]] = 1. Each block takes 256 tokens and reads the
/// ids after them tile by tile, until all of its tokens have found theirs: at worst tokens^2 / 2 comparisons.
template <class Unused = void>
GPU_KERNEL(threads)
link_kernel(const int32_t* ids, int64_t tokens, int32_t* next, int32_t* follows) {
  GPU_SHARED(int32_t, tile, threads);
  const int64_t token = global_thread();
  const bool exists = token < tokens;
  const int32_t id = exists ? ids[token] : -1;
  int32_t found = -1;
  for (int64_t begin = static_cast<int64_t>(blockIdx.x) * threads; begin < tokens; begin += threads) {
    tile[threadIdx.x] = begin + threadIdx.x < tokens ? ids[begin + threadIdx.x] : -2;
    barrier();
    for (int i = begin <= token ? static_cast<int>(threadIdx.x) + 1 : 0; i < threads && found < 0; ++i) {
      if (tile[i] == id) found = static_cast<int32_t>(begin + i);
    }
    if (!barrier_or(exists && found < 0)) break;
  }
  if (!exists) return;
  next[token] = found;
  if (found >= 0) follows[found] = 1;
}

template <class Unused = void>
GPU_KERNEL(threads)
clear_kernel(int32_t* values, int64_t count) {
  for (int64_t i = global_thread(); i < count; i += global_threads()) values[i] = 0;
}

/// One block per token; those that follow another leave their chain to its first.
template <class T>
GPU_KERNEL(threads)
sum_chains_kernel(EmbeddingBackwardParams<T> p, const int32_t* next, const int32_t* follows) {
  const auto first = static_cast<int32_t>(blockIdx.x);
  if (follows[first] != 0) return;
  float* row = p.dtable + p.ids[first] * p.dim;
  for (int64_t i = threadIdx.x; i < p.dim; i += threads) {
    float sum = row[i];
    for (int32_t token = first; token >= 0; token = next[token]) sum += widen(p.dy[token * p.dim + i]);
    row[i] = sum;
  }
}

}  // namespace

template <Device D, class T>
void embedding_forward(Context<D> on, const EmbeddingForwardParams<T>& p) {
  if (p.tokens == 0 || p.dim == 0) return;
  if (aligned_rows(p.dim, widest<T>, p.table, p.y)) {
    launch_forward<widest<T>>(on.stream, p);
  } else {
    launch_forward<1>(on.stream, p);
  }
}

template <Device D, class T>
int64_t embedding_backward_workspace_bytes(const EmbeddingBackwardParams<T>& p) {
  return 2 * p.tokens * static_cast<int64_t>(sizeof(int32_t));
}

template <Device D, class T>
void embedding_backward(Context<D> on, const EmbeddingBackwardParams<T>& p) {
  if (p.tokens == 0 || p.dim == 0) return;
  auto* next = static_cast<int32_t*>(p.workspace);
  int32_t* follows = next + p.tokens;
  launch("embedding_backward_clear", clear_kernel<>, loop_blocks(p.tokens, threads), threads, 0, on.stream, follows,
         p.tokens);
  launch("embedding_backward_link", link_kernel<>, ceil_div(p.tokens, threads), threads, 0, on.stream, p.ids, p.tokens,
         next, follows);
  launch("embedding_backward_sum", sum_chains_kernel<T>, p.tokens, threads, 0, on.stream, p, next, follows);
}

template void embedding_forward(Context<Cuda>, const EmbeddingForwardParams<float>&);
template void embedding_forward(Context<Cuda>, const EmbeddingForwardParams<bfloat16>&);
template int64_t embedding_backward_workspace_bytes<Cuda>(const EmbeddingBackwardParams<float>&);
template int64_t embedding_backward_workspace_bytes<Cuda>(const EmbeddingBackwardParams<bfloat16>&);
template void embedding_backward(Context<Cuda>, const EmbeddingBackwardParams<float>&);
template void embedding_backward(Context<Cuda>, const EmbeddingBackwardParams<bfloat16>&);

}  // namespace subspect::kernels
