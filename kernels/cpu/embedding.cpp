// Embedding on the CPU. The backward pass sorts the tokens by id, ties in token order, and gives each thread whole
// rows of the table, so that every row is summed in token order by one thread.
#include "kernels/embedding.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "kernels/cpu/partition.h"
#include "kernels/thread_team.h"

namespace subspect::kernels {
namespace {

template <class T>
int64_t workspace_bytes(const EmbeddingBackwardParams<T>& p) {
  return p.tokens * static_cast<int64_t>(sizeof(int32_t));
}

template <class T>
void add_row(const T* from, float* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] += to_float(from[i]);
}

}  // namespace

template <Device D, class T>
void embedding_forward(Context<D> on, const EmbeddingForwardParams<T>& p) {
  const auto row_bytes = static_cast<size_t>(p.dim) * sizeof(T);
  on.team->for_each_range(p.tokens, cpu::row_grain(p.dim), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) std::memcpy(p.y + t * p.dim, p.table + p.ids[t] * p.dim, row_bytes);
  });
}

template <Device D, class T>
int64_t embedding_backward_workspace_bytes(const EmbeddingBackwardParams<T>& p) {
  return workspace_bytes(p);
}

template <Device D, class T>
void embedding_backward(Context<D> on, const EmbeddingBackwardParams<T>& p) {
  if (p.tokens == 0) return;
  auto* order = static_cast<int32_t*>(p.workspace);
  std::iota(order, order + p.tokens, 0);
  std::sort(order, order + p.tokens,
            [&](int32_t a, int32_t b) { return p.ids[a] != p.ids[b] ? p.ids[a] < p.ids[b] : a < b; });
  // A chunk begins with the first token of an id, at or after its share, and ends before the next chunk's.
  const int64_t grain = std::max<int64_t>(16, cpu::row_grain(p.dim));
  const auto first_of_id = [&](int64_t at) {
    while (at > 0 && at < p.tokens && p.ids[order[at]] == p.ids[order[at - 1]]) ++at;
    return std::min(at, p.tokens);
  };
  on.team->for_each_range(p.tokens, grain, [&](int64_t begin, int64_t end) {
    const int64_t last = first_of_id(end);
    for (int64_t i = first_of_id(begin); i < last; ++i) {
      add_row(p.dy + order[i] * p.dim, p.dtable + p.ids[order[i]] * p.dim, p.dim);
    }
  });
}

template void embedding_forward(Context<Cpu>, const EmbeddingForwardParams<float>&);
template void embedding_forward(Context<Cpu>, const EmbeddingForwardParams<bfloat16>&);
template int64_t embedding_backward_workspace_bytes<Cpu>(const EmbeddingBackwardParams<float>&);
template int64_t embedding_backward_workspace_bytes<Cpu>(const EmbeddingBackwardParams<bfloat16>&);
template void embedding_backward(Context<Cpu>, const EmbeddingBackwardParams<float>&);
template void embedding_backward(Context<Cpu>, const EmbeddingBackwardParams<bfloat16>&);

}  // namespace subspect::kernels
