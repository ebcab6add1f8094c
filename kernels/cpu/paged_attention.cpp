// The paged key/value cache on the CPU. Long contexts are cut into spans of fixed length, each with its own softmax,
// combined in order ("flash decoding"), so that one sequence can use all threads.
#include "kernels/paged_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/partition.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd_targets.h"
#include "kernels/thread_team.h"

#ifndef SUBSPECT_KERNELS_CPU_PAGED_ATTENTION_ONCE
#define SUBSPECT_KERNELS_CPU_PAGED_ATTENTION_ONCE
namespace subspect::kernels::cpu {
namespace {

constexpr int64_t decode_span = 512;  ///< positions

/// A span's result for one head in the workspace: maximum, sum, then head_dim floats of the unnormalised output.
template <class T>
int64_t partial_size(const DecodeAttentionParams<T>& p) {
  return 2 + round_up(p.head_dim, 16);
}

template <class T>
int64_t most_spans(const DecodeAttentionParams<T>& p) {
  return ceil_div(p.max_pages * p.page_size, decode_span);
}

}  // namespace
}  // namespace subspect::kernels::cpu
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/paged_attention.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace subspect::kernels::cpu::HWY_NAMESPACE {
namespace {

template <class T>
float* partial_of(const DecodeAttentionParams<T>& p, int64_t sequence, int64_t head, int64_t span) {
  return static_cast<float*>(p.workspace) + ((sequence * p.heads + head) * most_spans(p) + span) * partial_size(p);
}

/// Where the cached head of a position begins, in elements.
template <class T>
int64_t cached_at(const DecodeAttentionParams<T>& p, int64_t sequence, int64_t kv_head, int64_t position) {
  const int64_t page = p.page_table[sequence * p.max_pages + position / p.page_size];
  return ((page * p.page_size + position % p.page_size) * p.kv_heads + kv_head) * p.head_dim;
}

/// scores become exp(score - maximum); writes the maximum and their sum to `partial`.
void soften_span(float* scores, int64_t count, float* partial) {
  partial[0] = *std::max_element(scores, scores + count);
  partial[1] = 0;
  for (int64_t i = 0; i < count; ++i) {
    scores[i] = std::exp(scores[i] - partial[0]);
    partial[1] += scores[i];
  }
}

/// One key/value head's query heads over the positions of one span.
template <class T>
void attend_span(const DecodeAttentionParams<T>& p, int64_t sequence, int64_t kv_head, int64_t span) {
  const int64_t length = p.lengths[sequence];
  const int64_t begin = std::max(span * decode_span, p.window > 0 ? length - p.window : 0);
  const int64_t end = std::min(length, (span + 1) * decode_span);
  if (begin >= end) return;
  const int64_t group = p.heads / p.kv_heads;
  const int64_t d = p.head_dim;
  const int64_t count = end - begin;
  Scratch scratch;
  float* q = scratch.allocate<float>(group * d);
  float* scores = scratch.allocate<float>(group * count);
  convert(p.q + sequence * p.q_stride + kv_head * group * d, q, group * d);
  for (int64_t i = 0; i < count; ++i) {
    const T* key = p.k_cache + cached_at(p, sequence, kv_head, begin + i);
    for (int64_t g = 0; g < group; ++g) scores[g * count + i] = p.scale * dot(q + g * d, key, d);
  }
  for (int64_t g = 0; g < group; ++g) {
    float* partial = partial_of(p, sequence, kv_head * group + g, span);
    soften_span(scores + g * count, count, partial);
    std::memset(partial + 2, 0, static_cast<size_t>(d) * sizeof(float));
  }
  for (int64_t i = 0; i < count; ++i) {
    const T* value = p.v_cache + cached_at(p, sequence, kv_head, begin + i);
    for (int64_t g = 0; g < group; ++g) {
      float* out = partial_of(p, sequence, kv_head * group + g, span) + 2;
      const Float weight = hn::Set(FloatTag(), scores[g * count + i]);
      for_each_vector(d, [&](int64_t j, auto part) HWY_ATTR {
        store(hn::MulAdd(weight, load(value + j, part), load(out + j, part)), out + j, part);
      });
    }
  }
}

/// Adds up the spans of one head, in order.
template <class T>
void combine(const DecodeAttentionParams<T>& p, int64_t sequence, int64_t head) {
  const FloatTag df;
  const int64_t length = p.lengths[sequence];
  const int64_t d = p.head_dim;
  const int64_t first = p.window > 0 ? std::max<int64_t>(0, length - p.window) / decode_span : 0;
  const int64_t last = ceil_div(length, decode_span);
  float maximum = partial_of(p, sequence, head, first)[0];
  for (int64_t span = first; span < last; ++span) {
    maximum = std::max(maximum, partial_of(p, sequence, head, span)[0]);
  }
  Scratch scratch;
  float* out = scratch.allocate<float>(d);
  std::memset(out, 0, static_cast<size_t>(d) * sizeof(float));
  float sum = 0;
  for (int64_t span = first; span < last; ++span) {
    const float* partial = partial_of(p, sequence, head, span);
    const float factor = std::exp(partial[0] - maximum);
    sum += factor * partial[1];
    for_each_vector(d, [&](int64_t j, auto part) HWY_ATTR {
      store(hn::MulAdd(hn::Set(df, factor), load(partial + 2 + j, part), load(out + j, part)), out + j, part);
    });
  }
  T* y = p.out + sequence * p.out_stride + head * d;
  for_each_vector(d, [&](int64_t j, auto part)
                         HWY_ATTR { store(hn::Mul(load(out + j, part), hn::Set(df, 1.0F / sum)), y + j, part); });
}

template <class T>
void decode(ThreadTeam& team, const DecodeAttentionParams<T>& p) {
  int64_t longest = 0;
  for (int64_t i = 0; i < p.sequences; ++i) longest = std::max<int64_t>(longest, p.lengths[i]);
  const int64_t spans = ceil_div(longest, decode_span);
  team.for_each_chunk(p.sequences * p.kv_heads * spans, [&](int64_t i) HWY_ATTR {
    attend_span(p, i / spans / p.kv_heads, i / spans % p.kv_heads, i % spans);
  });
  team.for_each_range(p.sequences * p.heads, row_grain(4 * p.head_dim), [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t i = begin; i < end; ++i) combine(p, i / p.heads, i % p.heads);
  });
}

SUBSPECT_SIMD_ENTRY(decode, DecodeAttentionParams)

}  // namespace
}  // namespace subspect::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace subspect::kernels {

SUBSPECT_SIMD_KERNEL(decode_attention, decode, DecodeAttentionParams)

template <Device D, class T>
int64_t decode_attention_workspace_bytes(const DecodeAttentionParams<T>& p) {
  return p.sequences * p.heads * cpu::most_spans(p) * cpu::partial_size(p) * static_cast<int64_t>(sizeof(float));
}

template int64_t decode_attention_workspace_bytes<Cpu>(const DecodeAttentionParams<float>&);
template int64_t decode_attention_workspace_bytes<Cpu>(const DecodeAttentionParams<bfloat16>&);

template <Device D, class T>
void kv_cache_append(Context<D> on, const KvCacheAppendParams<T>& p) {
  const int64_t width = p.kv_heads * p.head_dim;
  const auto bytes = static_cast<size_t>(width) * sizeof(T);
  on.team->for_each_range(p.tokens, cpu::row_grain(2 * width), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      if (p.slots[t] < 0) continue;
      std::memcpy(p.k_cache + p.slots[t] * width, p.k + t * p.k_stride, bytes);
      std::memcpy(p.v_cache + p.slots[t] * width, p.v + t * p.v_stride, bytes);
    }
  });
}

template void kv_cache_append(Context<Cpu>, const KvCacheAppendParams<float>&);
template void kv_cache_append(Context<Cpu>, const KvCacheAppendParams<bfloat16>&);

}  // namespace subspect::kernels
#endif
