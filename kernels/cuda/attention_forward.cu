// The forward pass of attention on CUDA, as FlashAttention-2 (Dao, 2023) has it: a block owns a tile of queries of one
// head and walks over the tiles of keys that its queries see, with an online softmax in float32. While it multiplies
// with the keys of a tile, the values arrive, and while with the values, the next keys.
//
// Dynamic shared memory: at most 99 KB, which compute capability 8.6 has; float32 with head_dim over 128: 130 KB.
#include "kernels/attention.h"

#include <cmath>

#include "kernels/cuda/attention_tiles.cuh"

namespace subspect::kernels {
namespace {

using namespace gpu;

/// Sizes of the tiles. A warp owns 16 * fragments rows of the queries.
template <class T, int D>
struct ForwardTiles {
  static constexpr int warps = 4;
  static constexpr int fragments = sizeof(T) == 2 && D <= 128 ? 2 : 1;
  static constexpr int keys = sizeof(T) == 2 ? 64 : 32;
  static constexpr int warp_queries = 16 * fragments;
  static constexpr int queries = warps * warp_queries;
  static constexpr int threads = warps * warp_size;
  static constexpr size_t bytes = static_cast<size_t>(queries + 2 * keys) * row_stride<T, D> * sizeof(T);
};

/// Scores are multiplied by `factor` within the exponent of 2. A negative scale turns the scores' signs first, so that
/// the largest score stays the largest.
struct ScoreScale {
  float factor;
  bool negate;
};

GPU_DEVICE ScoreScale score_scale(float scale) {
  const float magnitude = scale < 0 ? -scale : scale;
  return {magnitude > 1e-30F ? magnitude * log2_e : 1e-30F, scale < 0};
}

/// The running softmax of the rows of a lane: their largest scores so far, and this lane's share of the sums.
template <int M>
struct OnlineSoftmax {
  float maximum[M][2];
  float sum[M][2];
};

template <int M, int N>
GPU_DEVICE void negate(Fragments<M, N>& scores) {
  GPU_UNROLL
  for (int m = 0; m < M; ++m) {
    GPU_UNROLL
    for (int n = 0; n < N; ++n) {
      GPU_UNROLL
      for (int e = 0; e < 4; ++e) scores[m][n][e] = -scores[m][n][e];
    }
  }
}

/// The largest score of row (m, half) in this tile, over the four lanes that share the row.
template <int M, int N>
GPU_DEVICE float row_maximum(const Fragments<M, N>& scores, int m, int half) {
  float maximum = -INFINITY;
  GPU_UNROLL
  for (int n = 0; n < N; ++n) {
    maximum = fmaxf(maximum, fmaxf(scores[m][n][2 * half], scores[m][n][2 * half + 1]));
  }
  maximum = fmaxf(maximum, shuffle_xor(full_warp, maximum, 1));
  return fmaxf(maximum, shuffle_xor(full_warp, maximum, 2));
}

/// scores become exp(score - maximum so far); what was summed for earlier tiles is rescaled to the new maximum.
template <int M, int N, int W>
GPU_DEVICE void soften(Fragments<M, N>& scores, Fragments<M, W>& out, OnlineSoftmax<M>& softmax, float factor) {
  GPU_UNROLL
  for (int m = 0; m < M; ++m) {
    GPU_UNROLL
    for (int half = 0; half < 2; ++half) {
      const float before = softmax.maximum[m][half];
      const float maximum = fmaxf(before, row_maximum(scores, m, half));
      const float base = maximum == -INFINITY ? 0.0F : maximum * factor;  // a row that has seen no key yet
      const float rescale = fast_exp2(before * factor - base);
      float sum = 0;
      GPU_UNROLL
      for (int n = 0; n < N; ++n) {
        GPU_UNROLL
        for (int e = 2 * half; e < 2 * half + 2; ++e) {
          scores[m][n][e] = fast_exp2(scores[m][n][e] * factor - base);
          sum += scores[m][n][e];
        }
      }
      GPU_UNROLL
      for (int n = 0; n < W; ++n) {
        out[m][n][2 * half] *= rescale;
        out[m][n][2 * half + 1] *= rescale;
      }
      softmax.maximum[m][half] = maximum;
      softmax.sum[m][half] = softmax.sum[m][half] * rescale + sum;
    }
  }
}

/// Completes the sums, writes logsumexp of the warp's rows, and leaves 1 / sum in `softmax.sum`.
template <class T, int M>
GPU_DEVICE void finish_softmax(OnlineSoftmax<M>& softmax, const AttentionForwardParams<T>& p, const DocumentTile& tile,
                               int first_query, int64_t head) {
  GPU_UNROLL
  for (int m = 0; m < M; ++m) {
    GPU_UNROLL
    for (int half = 0; half < 2; ++half) {
      float sum = softmax.sum[m][half];
      sum += shuffle_xor(full_warp, sum, 1);
      sum += shuffle_xor(full_warp, sum, 2);
      softmax.sum[m][half] = 1.0F / sum;
      const int query = first_query + 16 * m + 8 * half + fragment_row();
      if (p.logsumexp == nullptr || query >= tile.length || fragment_col() != 0) continue;
      const float magnitude = p.shape.scale < 0 ? -p.shape.scale : p.shape.scale;
      p.logsumexp[head * p.shape.tokens + tile.begin + query] = softmax.maximum[m][half] * magnitude + natural_log(sum);
    }
  }
}

template <class T, int D>
GPU_KERNEL((ForwardTiles<T, D>::threads), 1)
attention_forward_kernel(AttentionArguments<AttentionForwardParams<T>> arguments) {
  using Tiles = ForwardTiles<T, D>;
  constexpr int fragments = Tiles::fragments;
  const AttentionForwardParams<T>& p = arguments.p;
  const QueryBlock block = query_block<Tiles::queries>(arguments);
  if (!block.exists()) return;

  T* q_tile = dynamic_smem<T>();
  T* k_tile = q_tile + Tiles::queries * row_stride<T, D>;
  T* v_tile = k_tile + Tiles::keys * row_stride<T, D>;
  const int first_key = larger(0, block.tile.first - arguments.window + 1);
  const int kv_head = block.head / arguments.group;
  load_rows<T, D, Tiles::queries, Tiles::threads>(q_tile, block.rows(p.q, p.q_stride, block.head, block.tile.first));
  load_rows<T, D, Tiles::keys, Tiles::threads>(k_tile, block.rows(p.k, p.k_stride, kv_head, first_key));
  cp_async_commit();

  const int warp_row = warp_index() * Tiles::warp_queries;
  const int first_query = block.tile.first + warp_row;
  T* warp_q = q_tile + warp_row * row_stride<T, D>;
  const ScoreScale scale = score_scale(p.shape.scale);
  Fragments<fragments, D / 8> out;
  OnlineSoftmax<fragments> softmax;
  clear(out);
  GPU_UNROLL
  for (int m = 0; m < fragments; ++m) {
    softmax.maximum[m][0] = softmax.maximum[m][1] = -INFINITY;
    softmax.sum[m][0] = softmax.sum[m][1] = 0;
  }
  for (int key = first_key; key < block.last; key += Tiles::keys) {
    const Visible visible = visible_pairs(first_query, Tiles::warp_queries, key, Tiles::keys, arguments.window);
    Fragments<fragments, Tiles::keys / 8> scores;
    cp_async_wait<0>();
    barrier();  // the keys are here, and all are done with the values of the tile before
    load_rows<T, D, Tiles::keys, Tiles::threads>(v_tile, block.rows(p.v, p.v_stride, kv_head, key));
    cp_async_commit();
    if (visible != Visible::none) {
      Products<T, D>::rows_by_rows(scores, warp_q, k_tile);
      if (scale.negate) negate(scores);
      if (visible == Visible::some) {
        hide_pairs<ScoreRows::queries>(scores, first_query + fragment_row(), key + fragment_col(), arguments.window,
                                       -INFINITY);
      }
      soften(scores, out, softmax, scale.factor);
    }
    cp_async_wait<0>();
    barrier();  // the values are here, and all are done with the keys
    if (key + Tiles::keys < block.last) {
      load_rows<T, D, Tiles::keys, Tiles::threads>(k_tile, block.rows(p.k, p.k_stride, kv_head, key + Tiles::keys));
      cp_async_commit();
    }
    if (visible != Visible::none) Products<T, D>::weights_by_rows(out, scores, v_tile);
  }
  finish_softmax(softmax, p, block.tile, first_query, block.head);
  store_rows<T, D, fragments>(out, softmax.sum, warp_q, block.rows(p.out, p.out_stride, block.head, first_query));
}

}  // namespace

template <Device D, class T>
void attention_forward(Context<D> on, const AttentionForwardParams<T>& p) {
  if (p.shape.tokens == 0) return;
  const AttentionArguments<AttentionForwardParams<T>> arguments{
      p, effective_window(p.shape), static_cast<int>(p.shape.heads / p.shape.kv_heads),
      aligned_heads<T>(p.shape.head_dim, {p.q_stride, p.k_stride, p.v_stride, p.out_stride}, p.q, p.k, p.v, p.out)};
  with_head_dim(p.shape.head_dim, [&](auto head_dim) {
    using Tiles = ForwardTiles<T, head_dim.value>;
    launch("attention_forward", attention_forward_kernel<T, head_dim.value>,
           document_slots(p.shape, Tiles::queries) * p.shape.heads, Tiles::threads, Tiles::bytes, on.stream, arguments);
  });
}

template void attention_forward(Context<Cuda>, const AttentionForwardParams<float>&);
template void attention_forward(Context<Cuda>, const AttentionForwardParams<bfloat16>&);

}  // namespace subspect::kernels
