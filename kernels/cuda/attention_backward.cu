// The backward pass of attention on CUDA, after FlashAttention-2 (Dao, 2023): probabilities are recomputed from
// logsumexp. Three kernels, none of which adds with atomics, so that results have the same bits every time:
//
// - delta = rowsum(dout * out);
// - dk and dv: a block owns a tile of keys of one key/value head and walks over the query heads of its group and,
// within
//   each, over the tiles of queries that see its keys. It computes scores transposed, keys by queries, so that a warp's
//   probabilities are already the left factor of dv += p^T dout and dk += ds^T q, and warps exchange nothing;
// - dq: a block owns a tile of queries of one head and walks over the tiles of keys that they see.
//
// The tiles that a block walks over are double-buffered: one arrives while the one before is used.
//
// Dynamic shared memory: at most 99 KB, which compute capability 8.6 has; with head_dim over 128 up to 133 KB.
#include "kernels/attention.h"

#include "kernels/cuda/attention_tiles.cuh"
#include "kernels/cuda/reduce.cuh"

namespace subspect::kernels {
namespace {

using namespace gpu;

template <class T>
using Arguments = AttentionArguments<AttentionBackwardParams<T>>;

constexpr int delta_threads = 128;

/// delta [heads, tokens]: one block per token, one warp per head at a time.
template <int N, class T>
GPU_KERNEL(delta_threads)
attention_delta_kernel(AttentionBackwardParams<T> p) {
  const int64_t token = blockIdx.x;
  for (int64_t head = warp_index(); head < p.shape.heads; head += delta_threads / warp_size) {
    const T* out = p.out + token * p.out_stride + head * p.shape.head_dim;
    const T* dout = p.dout + token * p.dout_stride + head * p.shape.head_dim;
    float sum = 0;
    GPU_NO_UNROLL
    for (int i = lane_index() * N; i < p.shape.head_dim; i += warp_size * N) {
      const Floats<N> a = load<N>(out + i);
      const Floats<N> b = load<N>(dout + i);
      GPU_UNROLL
      for (int j = 0; j < N; ++j) sum += a.value[j] * b.value[j];
    }
    sum = warp_sum(sum);
    if (lane_index() == 0) static_cast<float*>(p.workspace)[head * p.shape.tokens + token] = sum;
  }
}

/// Sizes of the tiles of the kernel for dk and dv. Both sums of one fragment of rows take D registers of a lane, so
/// beyond 128 each is a launch of its own.
template <class T, int D>
struct KeyTiles {
  static constexpr bool together = D <= 128;
  static constexpr int warps = sizeof(T) == 2 || D <= 96 ? 4 : 2;
  static constexpr int fragments = sizeof(T) == 2 && D == 64 ? 2 : 1;
  static constexpr int queries = sizeof(T) == 4 ? 16 : D == 80 || D == 96 ? 64 : 32;
  static constexpr int warp_keys = 16 * fragments;
  static constexpr int keys = warps * warp_keys;
  static constexpr int threads = warps * warp_size;
  static constexpr size_t bytes = static_cast<size_t>(2 * keys + 4 * queries) * row_stride<T, D> * sizeof(T) +
                                  static_cast<size_t>(4 * queries) * sizeof(float);
};

/// A tile of queries on its way through the kernel for dk and dv: one of its two buffers.
template <class T>
struct QueryBuffer {
  T* q;
  T* dout;
  float* logsumexp;
  float* delta;
};

/// scores [keys, queries] become probabilities.
template <int M, int N>
GPU_DEVICE void probabilities_of_keys(Fragments<M, N>& scores, const float* logsumexp, float factor) {
  GPU_UNROLL
  for (int n = 0; n < N; ++n) {
    const Floats<2> base = load<2>(logsumexp + 8 * n + fragment_col());
    GPU_UNROLL
    for (int m = 0; m < M; ++m) {
      GPU_UNROLL
      for (int e = 0; e < 4; ++e) {
        scores[m][n][e] = fast_exp2(scores[m][n][e] * factor - base.value[e % 2] * log2_e);
      }
    }
  }
}

/// products [keys, queries] of values and dout become gradients of the scores before scaling.
template <int M, int N>
GPU_DEVICE void score_gradients_of_keys(Fragments<M, N>& products, const Fragments<M, N>& probabilities,
                                        const float* delta) {
  GPU_UNROLL
  for (int n = 0; n < N; ++n) {
    const Floats<2> base = load<2>(delta + 8 * n + fragment_col());
    GPU_UNROLL
    for (int m = 0; m < M; ++m) {
      GPU_UNROLL
      for (int e = 0; e < 4; ++e) {
        products[m][n][e] = probabilities[m][n][e] * (products[m][n][e] - base.value[e % 2]);
      }
    }
  }
}

/// Starts loading the queries from position `first` on, with what the softmax and its gradient need of them.
template <class T, int D>
GPU_DEVICE void load_queries(const QueryBuffer<T>& to, const Arguments<T>& arguments, const DocumentTile& tile,
                             int64_t head, int first) {
  using Tiles = KeyTiles<T, D>;
  const AttentionBackwardParams<T>& p = arguments.p;
  const auto head_dim = static_cast<int>(p.shape.head_dim);
  const int64_t row = tile.begin + first;
  const int rows = tile.length - first;
  load_rows<T, D, Tiles::queries, Tiles::threads>(
      to.q, {p.q + row * p.q_stride + head * head_dim, p.q_stride, rows, head_dim, arguments.aligned});
  load_rows<T, D, Tiles::queries, Tiles::threads>(
      to.dout, {p.dout + row * p.dout_stride + head * head_dim, p.dout_stride, rows, head_dim, arguments.aligned});
  const int64_t at = head * p.shape.tokens + row;
  const auto i = static_cast<int>(threadIdx.x);
  if (i < Tiles::queries) {
    cp_async4(to.logsumexp + i, p.logsumexp + at + i, i < rows);
    cp_async4(to.delta + i, static_cast<const float*>(p.workspace) + at + i, i < rows);
  }
  cp_async_commit();
}

template <class T, int D, bool want_dk, bool want_dv>
GPU_KERNEL((KeyTiles<T, D>::threads), 1)
attention_keys_kernel(Arguments<T> arguments) {
  using Tiles = KeyTiles<T, D>;
  constexpr int fragments = Tiles::fragments;
  const AttentionBackwardParams<T>& p = arguments.p;
  const auto kv_heads = static_cast<uint32_t>(p.shape.kv_heads);
  const int64_t kv_head = blockIdx.x % kv_heads;
  const DocumentTile tile = document_tile(p.shape, blockIdx.x / kv_heads, Tiles::keys);
  if (tile.first >= tile.length) return;

  const auto head_dim = static_cast<int>(p.shape.head_dim);
  const int64_t row = tile.begin + tile.first;
  const int rows = tile.length - tile.first;
  constexpr int stride = row_stride<T, D>;
  T* k_tile = dynamic_smem<T>();
  T* v_tile = k_tile + Tiles::keys * stride;
  T* query_tiles = v_tile + Tiles::keys * stride;
  auto* query_floats = reinterpret_cast<float*>(query_tiles + 4 * Tiles::queries * stride);
  const auto buffer = [&](int index) {
    T* q = query_tiles + index * 2 * Tiles::queries * stride;
    float* floats = query_floats + index * 2 * Tiles::queries;
    return QueryBuffer<T>{q, q + Tiles::queries * stride, floats, floats + Tiles::queries};
  };
  load_rows<T, D, Tiles::keys, Tiles::threads>(
      k_tile, {p.k + row * p.k_stride + kv_head * head_dim, p.k_stride, rows, head_dim, arguments.aligned});
  load_rows<T, D, Tiles::keys, Tiles::threads>(
      v_tile, {p.v + row * p.v_stride + kv_head * head_dim, p.v_stride, rows, head_dim, arguments.aligned});
  const int64_t first_head = kv_head * arguments.group;
  load_queries<T, D>(buffer(0), arguments, tile, first_head, tile.first);

  const int warp_row = warp_index() * Tiles::warp_keys;
  const int first_key = tile.first + warp_row;
  const float factor = p.shape.scale * log2_e;
  const int last_key = tile.first + smaller(Tiles::keys, rows) - 1;
  const int last_query = last_key + smaller(tile.length - last_key, arguments.window);  // one past the last
  const int steps_of_head = (last_query - tile.first + Tiles::queries - 1) / Tiles::queries;
  Fragments<fragments, D / 8> dk;
  Fragments<fragments, D / 8> dv;
  clear(dk);
  clear(dv);
  int64_t head = first_head;
  int query = tile.first;
  for (int step = 0; step < arguments.group * steps_of_head; ++step) {
    const bool head_ends = query + Tiles::queries >= last_query;
    const int64_t next_head = head_ends ? head + 1 : head;
    const int next_query = head_ends ? tile.first : query + Tiles::queries;
    cp_async_wait<0>();
    barrier();  // this step's queries are here, and all are done with the buffer of the step before
    if (step + 1 < arguments.group * steps_of_head) {
      load_queries<T, D>(buffer((step + 1) % 2), arguments, tile, next_head, next_query);
    }
    const QueryBuffer<T> queries = buffer(step % 2);
    const Visible visible = visible_pairs(query, Tiles::queries, first_key, Tiles::warp_keys, arguments.window);
    if (visible != Visible::none) {
      Fragments<fragments, Tiles::queries / 8> probabilities;
      Products<T, D>::rows_by_rows(probabilities, k_tile + warp_row * stride, queries.q);
      probabilities_of_keys(probabilities, queries.logsumexp, factor);
      if (visible == Visible::some) {
        hide_pairs<ScoreRows::keys>(probabilities, first_key + fragment_row(), query + fragment_col(), arguments.window,
                                    0.0F);
      }
      if constexpr (want_dv) Products<T, D>::weights_by_rows(dv, probabilities, queries.dout);
      if constexpr (want_dk) {
        Fragments<fragments, Tiles::queries / 8> ds;
        Products<T, D>::rows_by_rows(ds, v_tile + warp_row * stride, queries.dout);
        score_gradients_of_keys(ds, probabilities, queries.delta);
        Products<T, D>::weights_by_rows(dk, ds, queries.q);
      }
    }
    head = next_head;
    query = next_query;
  }
  const int64_t target = row + warp_row;
  if constexpr (want_dk) {
    float scales[fragments][2];
    GPU_UNROLL
    for (int m = 0; m < fragments; ++m) scales[m][0] = scales[m][1] = p.shape.scale;
    store_rows<T, D, fragments>(
        dk, scales, k_tile + warp_row * stride,
        {p.dk + target * p.dk_stride + kv_head * head_dim, p.dk_stride, rows - warp_row, head_dim, arguments.aligned});
  }
  if constexpr (want_dv) {
    float ones[fragments][2];
    GPU_UNROLL
    for (int m = 0; m < fragments; ++m) ones[m][0] = ones[m][1] = 1;
    store_rows<T, D, fragments>(
        dv, ones, v_tile + warp_row * stride,
        {p.dv + target * p.dv_stride + kv_head * head_dim, p.dv_stride, rows - warp_row, head_dim, arguments.aligned});
  }
}

/// Sizes of the tiles of the kernel for dq.
template <class T, int D>
struct QueryTiles {
  static constexpr int warps = sizeof(T) == 4 && D == 256 ? 2 : 4;
  static constexpr int fragments = sizeof(T) == 2 && D <= 96 ? 2 : 1;
  static constexpr int keys = sizeof(T) == 2 ? 32 : 16;
  static constexpr int warp_queries = 16 * fragments;
  static constexpr int queries = warps * warp_queries;
  static constexpr int threads = warps * warp_size;
  static constexpr int blocks = sizeof(T) == 2 && D == 128 ? 3 : 1;  ///< of a multiprocessor
  static constexpr size_t bytes = static_cast<size_t>(2 * queries + 4 * keys) * row_stride<T, D> * sizeof(T);
};

/// logsumexp and delta of the rows of a lane; 0 for rows beyond the document.
template <int M>
struct RowStatistics {
  float logsumexp[M][2];
  float delta[M][2];
};

template <class T, int M>
GPU_DEVICE void load_statistics(RowStatistics<M>& to, const AttentionBackwardParams<T>& p, const DocumentTile& tile,
                                int first_query, int64_t head) {
  GPU_UNROLL
  for (int m = 0; m < M; ++m) {
    GPU_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int query = first_query + 16 * m + 8 * half + fragment_row();
      const int64_t at = head * p.shape.tokens + tile.begin + query;
      to.logsumexp[m][half] = query < tile.length ? p.logsumexp[at] : 0.0F;
      to.delta[m][half] = query < tile.length ? static_cast<const float*>(p.workspace)[at] : 0.0F;
    }
  }
}

/// scores [queries, keys] become the gradients of the scores before scaling; `products` are those of dout and values.
template <int M, int N>
GPU_DEVICE void score_gradients_of_queries(Fragments<M, N>& scores, const Fragments<M, N>& products,
                                           const RowStatistics<M>& statistics, float factor) {
  GPU_UNROLL
  for (int m = 0; m < M; ++m) {
    GPU_UNROLL
    for (int e = 0; e < 4; ++e) {
      const float base = statistics.logsumexp[m][e / 2] * log2_e;
      const float delta = statistics.delta[m][e / 2];
      GPU_UNROLL
      for (int n = 0; n < N; ++n) {
        scores[m][n][e] = fast_exp2(scores[m][n][e] * factor - base) * (products[m][n][e] - delta);
      }
    }
  }
}

template <class T, int D>
GPU_KERNEL((QueryTiles<T, D>::threads), (QueryTiles<T, D>::blocks))
attention_queries_kernel(Arguments<T> arguments) {
  using Tiles = QueryTiles<T, D>;
  constexpr int fragments = Tiles::fragments;
  constexpr int stride = row_stride<T, D>;
  const AttentionBackwardParams<T>& p = arguments.p;
  const QueryBlock block = query_block<Tiles::queries>(arguments);
  if (!block.exists()) return;

  T* q_tile = dynamic_smem<T>();
  T* dout_tile = q_tile + Tiles::queries * stride;
  T* key_tiles = dout_tile + Tiles::queries * stride;
  const int kv_head = block.head / arguments.group;
  const auto load_keys = [&](int buffer, int first) {
    T* k_tile = key_tiles + buffer * 2 * Tiles::keys * stride;
    load_rows<T, D, Tiles::keys, Tiles::threads>(k_tile, block.rows(p.k, p.k_stride, kv_head, first));
    load_rows<T, D, Tiles::keys, Tiles::threads>(k_tile + Tiles::keys * stride,
                                                 block.rows(p.v, p.v_stride, kv_head, first));
    cp_async_commit();
  };
  const int first_key = larger(0, block.tile.first - arguments.window + 1);
  load_rows<T, D, Tiles::queries, Tiles::threads>(q_tile, block.rows(p.q, p.q_stride, block.head, block.tile.first));
  load_rows<T, D, Tiles::queries, Tiles::threads>(dout_tile,
                                                  block.rows(p.dout, p.dout_stride, block.head, block.tile.first));
  load_keys(0, first_key);

  const int warp_row = warp_index() * Tiles::warp_queries;
  const int first_query = block.tile.first + warp_row;
  const float factor = p.shape.scale * log2_e;
  RowStatistics<fragments> statistics;
  load_statistics(statistics, p, block.tile, first_query, block.head);
  Fragments<fragments, D / 8> dq;
  clear(dq);
  int buffer = 0;
  for (int key = first_key; key < block.last; key += Tiles::keys, buffer ^= 1) {
    cp_async_wait<0>();
    barrier();  // this step's keys are here, and all are done with the buffer of the step before
    if (key + Tiles::keys < block.last) load_keys(buffer ^ 1, key + Tiles::keys);
    const T* k_tile = key_tiles + buffer * 2 * Tiles::keys * stride;
    const Visible visible = visible_pairs(first_query, Tiles::warp_queries, key, Tiles::keys, arguments.window);
    if (visible == Visible::none) continue;
    Fragments<fragments, Tiles::keys / 8> scores;
    Fragments<fragments, Tiles::keys / 8> products;
    Products<T, D>::rows_by_rows(scores, q_tile + warp_row * stride, k_tile);
    Products<T, D>::rows_by_rows(products, dout_tile + warp_row * stride, k_tile + Tiles::keys * stride);
    score_gradients_of_queries(scores, products, statistics, factor);
    if (visible == Visible::some) {
      hide_pairs<ScoreRows::queries>(scores, first_query + fragment_row(), key + fragment_col(), arguments.window,
                                     0.0F);
    }
    Products<T, D>::weights_by_rows(dq, scores, k_tile);
  }
  float scales[fragments][2];
  GPU_UNROLL
  for (int m = 0; m < fragments; ++m) scales[m][0] = scales[m][1] = p.shape.scale;
  store_rows<T, D, fragments>(dq, scales, q_tile + warp_row * stride,
                              block.rows(p.dq, p.dq_stride, block.head, first_query));
}

template <class T, int D>
void launch_keys(CUstream_st* stream, const Arguments<T>& arguments) {
  using Tiles = KeyTiles<T, D>;
  const AttentionShape& shape = arguments.p.shape;
  const int64_t blocks = document_slots(shape, Tiles::keys) * shape.kv_heads;
  if constexpr (Tiles::together) {
    launch("attention_backward_keys", attention_keys_kernel<T, D, true, true>, blocks, Tiles::threads, Tiles::bytes,
           stream, arguments);
  } else {
    launch("attention_backward_k", attention_keys_kernel<T, D, true, false>, blocks, Tiles::threads, Tiles::bytes,
           stream, arguments);
    launch("attention_backward_v", attention_keys_kernel<T, D, false, true>, blocks, Tiles::threads, Tiles::bytes,
           stream, arguments);
  }
}

}  // namespace

template <Device D, class T>
void attention_backward(Context<D> on, const AttentionBackwardParams<T>& p) {
  if (p.shape.tokens == 0) return;
  constexpr int N = widest<T>;
  const Arguments<T> arguments{p, effective_window(p.shape), static_cast<int>(p.shape.heads / p.shape.kv_heads),
                               aligned_heads<T>(p.shape.head_dim,
                                                {p.q_stride, p.k_stride, p.v_stride, p.out_stride, p.dout_stride,
                                                 p.dq_stride, p.dk_stride, p.dv_stride},
                                                p.q, p.k, p.v, p.out, p.dout, p.dq, p.dk, p.dv)};
  launch("attention_delta", arguments.aligned ? attention_delta_kernel<N, T> : attention_delta_kernel<1, T>,
         p.shape.tokens, delta_threads, 0, on.stream, p);
  with_head_dim(p.shape.head_dim, [&](auto head_dim) {
    using Tiles = QueryTiles<T, head_dim.value>;
    launch_keys<T, head_dim.value>(on.stream, arguments);
    launch("attention_backward_queries", attention_queries_kernel<T, head_dim.value>,
           document_slots(p.shape, Tiles::queries) * p.shape.heads, Tiles::threads, Tiles::bytes, on.stream, arguments);
  });
}

template void attention_backward(Context<Cuda>, const AttentionBackwardParams<float>&);
template void attention_backward(Context<Cuda>, const AttentionBackwardParams<bfloat16>&);

}  // namespace subspect::kernels
