// Attention over packed documents, and over the paged cache of generation.
#include "runtime/ops/attention.h"

#include <cmath>

#include "kernels/attention.h"
#include "kernels/paged_attention.h"
#include "runtime/dispatch.h"
#include "runtime/ops/checks.h"

namespace subspect::runtime::ops {

namespace {

float scale_or_default(float scale, int64_t head_dim) {
  return scale != 0 ? scale : 1.0F / std::sqrt(static_cast<float>(head_dim));
}

void check_qkv(const Stream& stream, const Tensor& qkv, int64_t heads, int64_t kv_heads, int64_t head_dim,
               const char* op) {
  require(heads > 0 && kv_heads > 0 && heads % kv_heads == 0, op,
          "heads must be a multiple of kv_heads. Received {} and {}.", heads, kv_heads);
  require_matrix(stream, qkv, op, "qkv");
  require_tensor(stream, qkv, {qkv.size(0), (heads + 2 * kv_heads) * head_dim}, qkv.dtype(), op, "qkv");
}

kernels::AttentionShape kernel_shape(const AttentionParams& params, int64_t tokens) {
  return {.cu_seqlens = params.cu_seqlens.data<int32_t>(),
          .documents = params.cu_seqlens.numel() - 1,
          .tokens = tokens,
          .max_len = params.max_len,
          .heads = params.heads,
          .kv_heads = params.kv_heads,
          .head_dim = params.head_dim,
          .scale = scale_or_default(params.scale, params.head_dim),
          .window = params.sliding_window};
}

// Query, key and value heads within the rows of packed projections.
template <class T>
struct Packed {
  Packed(const Tensor& qkv, const AttentionParams& params)
      : q(qkv.data<T>()),
        k(q + params.heads * params.head_dim),
        v(k + params.kv_heads * params.head_dim),
        stride(qkv.size(1)) {}
  T* q;
  T* k;
  T* v;
  int64_t stride;
};

struct Results {
  Tensor out;
  Tensor logsumexp;  // [heads, T] float32
};

Tensor backward(Stream& stream, const Tensor& dout, const Tensor& qkv, const Results& saved,
                const AttentionParams& params) {
  Tensor dqkv = Tensor::empty(stream, qkv.shape(), qkv.dtype());
  dispatch(stream, dout.dtype(), "attention", [&]<class D, class T>(kernels::Context<D> context) {
    const Packed<T> x(qkv, params);
    const Packed<T> dx(dqkv, params);
    kernels::AttentionBackwardParams<T> p{.shape = kernel_shape(params, dout.size(0)),
                                          .q = x.q,
                                          .k = x.k,
                                          .v = x.v,
                                          .q_stride = x.stride,
                                          .k_stride = x.stride,
                                          .v_stride = x.stride,
                                          .out = saved.out.data<T>(),
                                          .dout = dout.data<T>(),
                                          .out_stride = dout.size(1),
                                          .dout_stride = dout.size(1),
                                          .logsumexp = saved.logsumexp.data<float>(),
                                          .dq = dx.q,
                                          .dk = dx.k,
                                          .dv = dx.v,
                                          .dq_stride = dx.stride,
                                          .dk_stride = dx.stride,
                                          .dv_stride = dx.stride};
    const Tensor scratch = workspace(stream, kernels::attention_backward_workspace_bytes<D, T>(p));
    p.workspace = scratch.raw();
    kernels::attention_backward<D, T>(context, p);
  });
  return dqkv;
}

}  // namespace

Variable attention(const Execution& on, const Variable& qkv, const AttentionParams& params) {
  check_qkv(on.stream, qkv.value, params.heads, params.kv_heads, params.head_dim, "attention");
  require(params.cu_seqlens.defined() && params.cu_seqlens.numel() >= 1, "attention",
          "cu_seqlens must have at least one element.");
  require_tensor(on.stream, params.cu_seqlens, {params.cu_seqlens.numel()}, DType::int32, "attention", "cu_seqlens");
  const int64_t tokens = qkv.value.size(0);
  const bool recorded = on.tape != nullptr && qkv.wants_grad();
  Results results{.out = Tensor::empty(on.stream, {tokens, params.heads * params.head_dim}, qkv.value.dtype()),
                  .logsumexp = recorded ? Tensor::empty(on.stream, {params.heads, tokens}, DType::float32) : Tensor()};
  dispatch(on.stream, qkv.value.dtype(), "attention", [&]<class D, class T>(kernels::Context<D> context) {
    const Packed<T> x(qkv.value, params);
    kernels::attention_forward<D, T>(context, {.shape = kernel_shape(params, tokens),
                                               .q = x.q,
                                               .k = x.k,
                                               .v = x.v,
                                               .q_stride = x.stride,
                                               .k_stride = x.stride,
                                               .v_stride = x.stride,
                                               .out = results.out.data<T>(),
                                               .out_stride = results.out.size(1),
                                               .logsumexp = recorded ? results.logsumexp.data<float>() : nullptr});
  });
  if (!recorded) return {results.out};
  Tensor out = results.out;
  auto walk = [saved = Saved(qkv), results = std::move(results), id = qkv.id, params](
                  Tape& tape, std::span<const Tensor> output_grads) {
    tape.accumulate({Tensor(), id},
                    backward(tape.stream(), output_grads[0], saved.get(tape.stream()), results, params));
  };
  return on.tape->record("attention", {std::move(out)}, std::move(walk))[0];
}

PagedCache PagedCache::allocate(Stream& stream, int64_t pages, int64_t page_size, int64_t kv_heads, int64_t head_dim,
                                DType dtype) {
  const MemoryScope scope(*stream.allocator(), MemoryTag::cache);
  const Shape shape = {pages, page_size, kv_heads, head_dim};
  return {Tensor::zeros(stream, shape, dtype), Tensor::zeros(stream, shape, dtype), page_size};
}

void append_to_cache(const Execution& on, const Tensor& qkv, int64_t heads, const PagedCache& cache,
                     const Tensor& slots) {
  const int64_t kv_heads = cache.keys.size(2);
  const int64_t head_dim = cache.keys.size(3);
  check_qkv(on.stream, qkv, heads, kv_heads, head_dim, "append_to_cache");
  require_tensor(on.stream, cache.keys, cache.values.shape(), qkv.dtype(), "append_to_cache", "the cache");
  require_tensor(on.stream, slots, {qkv.size(0)}, DType::int32, "append_to_cache", "slots");
  dispatch(on.stream, qkv.dtype(), "append_to_cache", [&]<class D, class T>(kernels::Context<D> context) {
    const T* keys = qkv.data<T>() + heads * head_dim;
    kernels::kv_cache_append<D, T>(context, {.k = keys,
                                             .v = keys + kv_heads * head_dim,
                                             .k_stride = qkv.size(1),
                                             .v_stride = qkv.size(1),
                                             .slots = slots.data<int32_t>(),
                                             .k_cache = cache.keys.data<T>(),
                                             .v_cache = cache.values.data<T>(),
                                             .tokens = qkv.size(0),
                                             .kv_heads = kv_heads,
                                             .head_dim = head_dim});
  });
}

Tensor decode_attention(const Execution& on, const Tensor& qkv, const PagedCache& cache,
                        const DecodeAttentionParams& params) {
  const char* op = "decode_attention";
  check_qkv(on.stream, qkv, params.heads, params.kv_heads, params.head_dim, op);
  const Shape cache_shape = {cache.keys.size(0), cache.page_size, params.kv_heads, params.head_dim};
  require_tensor(on.stream, cache.keys, cache_shape, qkv.dtype(), op, "the cached keys");
  require_tensor(on.stream, cache.values, cache_shape, qkv.dtype(), op, "the cached values");
  require_matrix(on.stream, params.page_table, op, "the page table");
  require_tensor(on.stream, params.page_table, {qkv.size(0), params.page_table.size(1)}, DType::int32, op,
                 "the page table");
  require_tensor(on.stream, params.lengths, {qkv.size(0)}, DType::int32, op, "lengths");
  Tensor out = Tensor::empty(on.stream, {qkv.size(0), params.heads * params.head_dim}, qkv.dtype());
  dispatch(on.stream, qkv.dtype(), op, [&]<class D, class T>(kernels::Context<D> context) {
    kernels::DecodeAttentionParams<T> p{.q = qkv.data<T>(),
                                        .q_stride = qkv.size(1),
                                        .k_cache = cache.keys.data<T>(),
                                        .v_cache = cache.values.data<T>(),
                                        .page_table = params.page_table.data<int32_t>(),
                                        .lengths = params.lengths.data<int32_t>(),
                                        .out = out.data<T>(),
                                        .out_stride = out.size(1),
                                        .sequences = qkv.size(0),
                                        .max_pages = params.page_table.size(1),
                                        .page_size = cache.page_size,
                                        .heads = params.heads,
                                        .kv_heads = params.kv_heads,
                                        .head_dim = params.head_dim,
                                        .scale = scale_or_default(params.scale, params.head_dim),
                                        .window = params.sliding_window};
    const Tensor scratch = workspace(on.stream, kernels::decode_attention_workspace_bytes<D, T>(p));
    p.workspace = scratch.raw();
    kernels::decode_attention<D, T>(context, p);
  });
  return out;
}

}  // namespace subspect::runtime::ops
