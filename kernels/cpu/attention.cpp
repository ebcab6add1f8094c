// Attention on the CPU. Scores are kept transposed, [keys, queries], so that the softmax over keys is vertical: one
// vector lane per query, no horizontal sums. Every product is a tile_gemm on float tiles of at most 64 x 64.
#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/partition.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd_targets.h"
#include "kernels/thread_team.h"

#ifndef SUBSPECT_KERNELS_CPU_ATTENTION_ONCE
#define SUBSPECT_KERNELS_CPU_ATTENTION_ONCE
namespace subspect::kernels::cpu {
namespace {

constexpr int64_t attention_block = 64;  ///< queries, and keys, of a tile
constexpr int64_t fused_length = 512;    ///< documents up to this length have their gradients computed in one task

/// Rows [begin, end) of the packed tokens.
struct Rows {
  int64_t begin;
  int64_t end;

  int64_t size() const { return end - begin; }
};

/// A share of the work: the pairs of `queries` and `keys` of one document, for heads [head, head + heads).
struct AttentionTask {
  Rows queries;
  Rows keys;
  int64_t head;
  int64_t heads;
  bool want_dq;
  bool want_dkv;
};

/// Keys of the document that starts at `begin` that some query of `queries` sees.
inline Rows visible_keys(const AttentionShape& shape, int64_t begin, Rows queries) {
  const int64_t first = shape.window > 0 ? queries.begin - shape.window + 1 : begin;
  return {std::max(begin, first), queries.end};
}

/// True when some query sees some key.
inline bool any_visible(const AttentionShape& shape, Rows queries, Rows keys) {
  if (keys.begin >= queries.end) return false;
  return shape.window <= 0 || queries.begin - (keys.end - 1) < shape.window;
}

/// True when every query sees every key.
inline bool all_visible(const AttentionShape& shape, Rows queries, Rows keys) {
  if (keys.end - 1 > queries.begin) return false;
  return shape.window <= 0 || queries.end - 1 - keys.begin < shape.window;
}

inline int64_t document_blocks(const AttentionShape& shape, int64_t document) {
  return ceil_div(shape.cu_seqlens[document + 1] - shape.cu_seqlens[document], attention_block);
}

/// One task per (block of queries, head); the blocks with most keys first.
inline int64_t list_forward_tasks(const AttentionShape& shape, AttentionTask* tasks) {
  int64_t count = 0;
  for (int64_t document = 0; document < shape.documents; ++document) {
    const int64_t begin = shape.cu_seqlens[document];
    const int64_t end = shape.cu_seqlens[document + 1];
    for (int64_t block = document_blocks(shape, document) - 1; block >= 0; --block) {
      const int64_t first = begin + block * attention_block;
      const Rows queries{first, std::min(end, first + attention_block)};
      for (int64_t head = 0; head < shape.heads; ++head) {
        if (tasks != nullptr) tasks[count] = {queries, visible_keys(shape, begin, queries), head, 1, false, false};
        ++count;
      }
    }
  }
  return count;
}

/// Short documents: one task per key/value head. Long ones: one per (block of keys, key/value head) for dk and dv, and
/// one per (block of queries, head) for dq.
inline int64_t list_backward_tasks(const AttentionShape& shape, AttentionTask* tasks) {
  int64_t count = 0;
  const auto add = [&](const AttentionTask& task) {
    if (tasks != nullptr) tasks[count] = task;
    ++count;
  };
  const int64_t group = shape.heads / shape.kv_heads;
  for (int64_t document = 0; document < shape.documents; ++document) {
    const Rows all{shape.cu_seqlens[document], shape.cu_seqlens[document + 1]};
    if (all.size() <= fused_length) {
      for (int64_t head = 0; all.size() > 0 && head < shape.kv_heads; ++head) {
        add({all, all, head * group, group, true, true});
      }
      continue;
    }
    const int64_t blocks = document_blocks(shape, document);
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t low = all.begin + block * attention_block;
      const Rows keys{low, std::min(all.end, low + attention_block)};
      for (int64_t head = 0; head < shape.kv_heads; ++head) {
        add({{keys.begin, all.end}, keys, head * group, group, false, true});
      }
      const int64_t high = all.begin + (blocks - 1 - block) * attention_block;
      const Rows queries{high, std::min(all.end, high + attention_block)};
      for (int64_t head = 0; head < shape.heads; ++head) {
        add({queries, visible_keys(shape, all.begin, queries), head, 1, true, false});
      }
    }
  }
  return count;
}

}  // namespace
}  // namespace subspect::kernels::cpu
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

#include "kernels/cpu/tile_gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace subspect::kernels::cpu::HWY_NAMESPACE {
namespace {

/// Score of a pair that is not visible: finite, so that differences of such scores are 0 and not NaN.
constexpr float hidden_score = -1e30F;

HWY_INLINE Float bounded_exp(Float x) {
  const FloatTag df;
  return hn::Exp(df, hn::Max(x, hn::Set(df, -110.0F)));  // e^-110 is 0 in float32
}

/// Overwrites the entries of a [keys, queries] tile that are not visible.
void hide(const AttentionShape& shape, Rows queries, Rows keys, float hidden, float* tile, int64_t width) {
  if (all_visible(shape, queries, keys)) return;
  for (int64_t key = keys.begin; key < keys.end; ++key) {
    float* row = tile + (key - keys.begin) * width;
    const int64_t first = std::clamp(key - queries.begin, int64_t{0}, queries.size());
    const int64_t last =
        shape.window > 0 ? std::clamp(key + shape.window - queries.begin, int64_t{0}, queries.size()) : queries.size();
    std::fill(row, row + first, hidden);
    std::fill(row + std::max(first, last), row + queries.size(), hidden);
  }
}

/// The running softmax of a block of queries, one lane per query.
struct OnlineSoftmax {
  float* maximum;  ///< [width]
  float* sum;      ///< [width]
  float* rescale;  ///< [width]: factor of what was summed before the last tile
};

/// scores [keys, width] become exp(score - maximum); updates the maximum, the sum and the factor.
void soften(float* scores, int64_t keys, int64_t width, const OnlineSoftmax& state) {
  const FloatTag df;
  const int64_t lanes = float_lanes();
  for (int64_t i = 0; i < width; i += lanes) {
    const Float before = load(state.maximum + i);
    Float maximum = before;
    for (int64_t j = 0; j < keys; ++j) maximum = hn::Max(maximum, load(scores + j * width + i));
    Float sum = hn::Zero(df);
    for (int64_t j = 0; j < keys; ++j) {
      const Float p = bounded_exp(hn::Sub(load(scores + j * width + i), maximum));
      store(p, scores + j * width + i);
      sum = hn::Add(sum, p);
    }
    const Float rescale = bounded_exp(hn::Sub(before, maximum));
    store(maximum, state.maximum + i);
    store(rescale, state.rescale + i);
    store(hn::MulAdd(load(state.sum + i), rescale, sum), state.sum + i);
  }
}

/// row[j] *= factor for a padded row.
HWY_INLINE void scale_row(float* row, float factor, int64_t padded) {
  const Float f = hn::Set(FloatTag(), factor);
  for (int64_t j = 0; j < padded; j += float_lanes()) store(hn::Mul(f, load(row + j)), row + j);
}

/// Normalises the sums over keys and writes the output and logsumexp of a block of queries.
template <class T>
void write_outputs(const AttentionForwardParams<T>& p, Rows queries, int64_t head, float* out, int64_t padded,
                   const OnlineSoftmax& softmax) {
  const int64_t d = p.shape.head_dim;
  for (int64_t i = 0; i < queries.size(); ++i) {
    scale_row(out + i * padded, 1.0F / softmax.sum[i], padded);
    convert(out + i * padded, p.out + (queries.begin + i) * p.out_stride + head * d, d);
    if (p.logsumexp != nullptr) {
      p.logsumexp[head * p.shape.tokens + queries.begin + i] = softmax.maximum[i] + std::log(softmax.sum[i]);
    }
  }
}

template <class T>
void forward_task(const AttentionForwardParams<T>& p, const AttentionTask& task) {
  const AttentionShape& shape = p.shape;
  const int64_t d = shape.head_dim;
  const int64_t padded = round_up(d, tile_padding);
  const Rows queries = task.queries;
  const int64_t width = round_up(queries.size(), tile_padding);
  const int64_t kv_head = task.head / (shape.heads / shape.kv_heads);
  Scratch scratch;
  float* tile = scratch.allocate<float>(attention_block * padded);
  float* q_transposed = scratch.allocate<float>(padded * width);
  float* scores = scratch.allocate<float>(attention_block * width);
  float* out = scratch.allocate<float>(queries.size() * padded);
  const OnlineSoftmax softmax{scratch.allocate<float>(width), scratch.allocate<float>(width),
                              scratch.allocate<float>(width)};
  std::fill(softmax.maximum, softmax.maximum + width, hidden_score);
  std::memset(softmax.sum, 0, static_cast<size_t>(width) * sizeof(float));
  std::memset(out, 0, static_cast<size_t>(queries.size() * padded) * sizeof(float));
  load_tile(p.q + queries.begin * p.q_stride + task.head * d, p.q_stride, queries.size(), d, shape.scale, tile, padded);
  transpose_tile(tile, padded, queries.size(), d, q_transposed, width);
  for (int64_t first = task.keys.begin; first < task.keys.end; first += attention_block) {
    const Rows keys{first, std::min(task.keys.end, first + attention_block)};
    load_tile(p.k + first * p.k_stride + kv_head * d, p.k_stride, keys.size(), d, 1.0F, tile, padded);
    tile_gemm<false>({tile, padded, 1}, q_transposed, width, scores, width, keys.size(), width, d);
    hide(shape, queries, keys, hidden_score, scores, width);
    soften(scores, keys.size(), width, softmax);
    for (int64_t i = 0; i < queries.size(); ++i) scale_row(out + i * padded, softmax.rescale[i], padded);
    load_tile(p.v + first * p.v_stride + kv_head * d, p.v_stride, keys.size(), d, 1.0F, tile, padded);
    tile_gemm<true>({scores, 1, width}, tile, padded, out, padded, queries.size(), padded, keys.size());
  }
  write_outputs(p, queries, task.head, out, padded, softmax);
}

template <class T>
void forward(ThreadTeam& team, const AttentionForwardParams<T>& p) {
  Scratch scratch;
  const int64_t count = list_forward_tasks(p.shape, nullptr);
  auto* tasks = scratch.allocate<AttentionTask>(count);
  list_forward_tasks(p.shape, tasks);
  team.for_each_chunk(count, [&](int64_t i) HWY_ATTR { forward_task(p, tasks[i]); });
}

/// Float tiles of one block of queries of one head.
struct QueryTiles {
  float* q;                ///< [queries, padded]
  float* dout;             ///< [queries, padded]
  float* q_transposed;     ///< [d, width]
  float* dout_transposed;  ///< [d, width]
  float* dq;               ///< [queries, padded]
};

/// Float tiles of a range of keys of one key/value head, [keys, padded] each.
struct KeyTiles {
  float* k;
  float* v;
  float* dk;
  float* dv;
};

/// p [keys, width] = probabilities, ds [keys, width] = gradients of the scores before scaling.
void score_gradients(const float* logsumexp, const float* delta, int64_t keys, int64_t queries, int64_t width, float* p,
                     float* ds) {
  for (int64_t j = 0; j < keys; ++j) {
    for_each_vector(queries, [&](int64_t i, auto part) HWY_ATTR {
      const Float probability = bounded_exp(hn::Sub(load(p + j * width + i, part), load(logsumexp + i, part)));
      store(probability, p + j * width + i, part);
      const Float difference = hn::Sub(load(ds + j * width + i, part), load(delta + i, part));
      store(hn::Mul(probability, difference), ds + j * width + i, part);
    });
  }
}

/// Adds the gradients of the pairs of one block of queries and one of keys.
template <class T>
void backward_pair(const AttentionBackwardParams<T>& p, const AttentionTask& task, int64_t head, Rows queries,
                   Rows keys, const QueryTiles& query, const KeyTiles& key, float* probabilities, float* ds) {
  const AttentionShape& shape = p.shape;
  const int64_t d = shape.head_dim;
  const int64_t padded = round_up(d, tile_padding);
  const int64_t width = round_up(queries.size(), tile_padding);
  const int64_t row = head * shape.tokens + queries.begin;
  const float* delta = static_cast<const float*>(p.workspace) + row;
  tile_gemm<false>({key.k, padded, 1}, query.q_transposed, width, probabilities, width, keys.size(), width, d);
  hide(shape, queries, keys, hidden_score, probabilities, width);
  tile_gemm<false>({key.v, padded, 1}, query.dout_transposed, width, ds, width, keys.size(), width, d);
  score_gradients(p.logsumexp + row, delta, keys.size(), queries.size(), width, probabilities, ds);
  if (task.want_dkv) {
    tile_gemm<true>({probabilities, width, 1}, query.dout, padded, key.dv, padded, keys.size(), padded, queries.size());
    tile_gemm<true>({ds, width, 1}, query.q, padded, key.dk, padded, keys.size(), padded, queries.size());
  }
  if (task.want_dq) {
    tile_gemm<true>({ds, 1, width}, key.k, padded, query.dq, padded, queries.size(), padded, keys.size());
  }
}

template <class T>
void load_keys(const AttentionBackwardParams<T>& p, Rows keys, int64_t kv_head, const KeyTiles& key) {
  const int64_t d = p.shape.head_dim;
  const int64_t padded = round_up(d, tile_padding);
  load_tile(p.k + keys.begin * p.k_stride + kv_head * d, p.k_stride, keys.size(), d, 1.0F, key.k, padded);
  load_tile(p.v + keys.begin * p.v_stride + kv_head * d, p.v_stride, keys.size(), d, 1.0F, key.v, padded);
}

/// Loads the tiles of a block of queries; q is scaled, so that its products are scores and gradients of k.
template <class T>
void load_queries(const AttentionBackwardParams<T>& p, Rows queries, int64_t head, const QueryTiles& query) {
  const int64_t d = p.shape.head_dim;
  const int64_t padded = round_up(d, tile_padding);
  const int64_t width = round_up(queries.size(), tile_padding);
  load_tile(p.q + queries.begin * p.q_stride + head * d, p.q_stride, queries.size(), d, p.shape.scale, query.q, padded);
  load_tile(p.dout + queries.begin * p.dout_stride + head * d, p.dout_stride, queries.size(), d, 1.0F, query.dout,
            padded);
  transpose_tile(query.q, padded, queries.size(), d, query.q_transposed, width);
  transpose_tile(query.dout, padded, queries.size(), d, query.dout_transposed, width);
  std::memset(query.dq, 0, static_cast<size_t>(queries.size() * padded) * sizeof(float));
}

/// Writes tile rows, times `factor`, to the rows of a gradient.
template <class T>
void write_rows(float* tile, Rows rows, int64_t head, int64_t d, float factor, T* to, int64_t stride) {
  const int64_t padded = round_up(d, tile_padding);
  for (int64_t i = 0; i < rows.size(); ++i) {
    scale_row(tile + i * padded, factor, padded);
    convert(tile + i * padded, to + (rows.begin + i) * stride + head * d, d);
  }
}

template <class T>
void backward_task(const AttentionBackwardParams<T>& p, const AttentionTask& task) {
  const AttentionShape& shape = p.shape;
  const int64_t d = shape.head_dim;
  const int64_t padded = round_up(d, tile_padding);
  const int64_t kv_head = task.head / (shape.heads / shape.kv_heads);
  Scratch scratch;
  const auto floats = [&](int64_t rows, int64_t cols) HWY_ATTR { return scratch.allocate<float>(rows * cols); };
  constexpr int64_t block = attention_block;
  const QueryTiles query{floats(block, padded), floats(block, padded), floats(padded, block), floats(padded, block),
                         floats(block, padded)};
  float* probabilities = floats(block, block);
  float* ds = floats(block, block);
  // Keys that gather gradients are few (a block or a short document) and stay loaded; others are loaded block by block.
  const int64_t kept = task.want_dkv ? task.keys.size() : block;
  const KeyTiles all{floats(kept, padded), floats(kept, padded), floats(kept, padded), floats(kept, padded)};
  if (task.want_dkv) {
    load_keys(p, task.keys, kv_head, all);
    std::memset(all.dk, 0, static_cast<size_t>(kept * padded) * sizeof(float));
    std::memset(all.dv, 0, static_cast<size_t>(kept * padded) * sizeof(float));
  }
  for (int64_t head = task.head; head < task.head + task.heads; ++head) {
    for (int64_t first = task.queries.begin; first < task.queries.end; first += block) {
      const Rows queries{first, std::min(task.queries.end, first + block)};
      if (!any_visible(shape, queries, task.keys)) continue;
      load_queries(p, queries, head, query);
      for (int64_t low = task.keys.begin; low < task.keys.end; low += block) {
        const Rows keys{low, std::min(task.keys.end, low + block)};
        if (!any_visible(shape, queries, keys)) continue;
        const int64_t at = task.want_dkv ? (low - task.keys.begin) * padded : 0;
        const KeyTiles key{all.k + at, all.v + at, all.dk + at, all.dv + at};
        if (!task.want_dkv) load_keys(p, keys, kv_head, key);
        backward_pair(p, task, head, queries, keys, query, key, probabilities, ds);
      }
      if (task.want_dq) write_rows(query.dq, queries, head, d, shape.scale, p.dq, p.dq_stride);
    }
  }
  if (task.want_dkv) {
    write_rows(all.dk, task.keys, kv_head, d, 1.0F, p.dk, p.dk_stride);
    write_rows(all.dv, task.keys, kv_head, d, 1.0F, p.dv, p.dv_stride);
  }
}

/// delta[head, t] = out . dout, which the softmax's gradient subtracts.
template <class T>
void compute_delta(ThreadTeam& team, const AttentionBackwardParams<T>& p) {
  const AttentionShape& shape = p.shape;
  const int64_t d = shape.head_dim;
  auto* delta = static_cast<float*>(p.workspace);
  team.for_each_range(shape.tokens, row_grain(shape.heads * d), [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t head = 0; head < shape.heads; ++head) {
        delta[head * shape.tokens + t] =
            dot(p.out + t * p.out_stride + head * d, p.dout + t * p.dout_stride + head * d, d);
      }
    }
  });
}

template <class T>
void backward(ThreadTeam& team, const AttentionBackwardParams<T>& p) {
  compute_delta(team, p);
  Scratch scratch;
  const int64_t count = list_backward_tasks(p.shape, nullptr);
  auto* tasks = scratch.allocate<AttentionTask>(count);
  list_backward_tasks(p.shape, tasks);
  team.for_each_chunk(count, [&](int64_t i) HWY_ATTR { backward_task(p, tasks[i]); });
}

SUBSPECT_SIMD_ENTRY(forward, AttentionForwardParams)
SUBSPECT_SIMD_ENTRY(backward, AttentionBackwardParams)

}  // namespace
}  // namespace subspect::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace subspect::kernels {

SUBSPECT_SIMD_KERNEL(attention_forward, forward, AttentionForwardParams)
SUBSPECT_SIMD_KERNEL(attention_backward, backward, AttentionBackwardParams)

template <>
int64_t attention_backward_workspace_bytes<Cpu, float>(const AttentionBackwardParams<float>& p) {
  return p.shape.heads * p.shape.tokens * static_cast<int64_t>(sizeof(float));
}

template <>
int64_t attention_backward_workspace_bytes<Cpu, bfloat16>(const AttentionBackwardParams<bfloat16>& p) {
  return p.shape.heads * p.shape.tokens * static_cast<int64_t>(sizeof(float));
}

}  // namespace subspect::kernels
#endif
