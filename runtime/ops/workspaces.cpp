// Asks the kernels of both backends; those of CUDA answer in every build.
#include "runtime/ops/workspaces.h"

#include "kernels/attention.h"
#include "kernels/bias.h"
#include "kernels/embedding.h"
#include "kernels/linear_cross_entropy.h"
#include "kernels/optimizer.h"
#include "kernels/rms_norm.h"
#include "kernels/rotary.h"

namespace subspect::runtime::ops {

namespace {

template <class Body>
int64_t with_device(DeviceType device, const Body& body) {
  return device == DeviceType::cuda ? body.template operator()<kernels::Cuda>()
                                    : body.template operator()<kernels::Cpu>();
}

template <class Shape, class Body>
int64_t with_types(const Shape& shape, const Body& body) {
  return with_device(shape.device, [&]<class D>() {
    return shape.dtype == DType::bfloat16 ? body.template operator()<D, bfloat16>()
                                          : body.template operator()<D, float>();
  });
}

}  // namespace

int64_t rms_norm_backward_bytes(const MatrixShape& x) {
  return with_types(x, [&]<class D, class T>() {
    return kernels::rms_norm_backward_workspace_bytes<D, T>({.rows = x.rows, .cols = x.cols});
  });
}

int64_t bias_backward_bytes(const MatrixShape& y) {
  return with_types(y, [&]<class D, class T>() {
    return kernels::bias_gradient_workspace_bytes<D, T>({.rows = y.rows, .cols = y.cols});
  });
}

int64_t embedding_backward_bytes(const MatrixShape& y) {
  return with_types(y, [&]<class D, class T>() {
    return kernels::embedding_backward_workspace_bytes<D, T>({.tokens = y.rows, .dim = y.cols});
  });
}

int64_t attention_backward_bytes(const HeadsShape& shape) {
  return with_types(shape, [&]<class D, class T>() {
    kernels::AttentionBackwardParams<T> p;
    p.shape.tokens = shape.tokens;
    p.shape.heads = shape.heads;
    p.shape.kv_heads = shape.kv_heads;
    p.shape.head_dim = shape.head_dim;
    return kernels::attention_backward_workspace_bytes<D, T>(p);
  });
}

int64_t rotary_norm_backward_bytes(const HeadsShape& shape) {
  return with_types(shape, [&]<class D, class T>() {
    const T weight{};
    kernels::RotaryBackwardParams<T> p;
    p.shape.tokens = shape.tokens;
    p.shape.heads = shape.heads;
    p.shape.kv_heads = shape.kv_heads;
    p.shape.head_dim = shape.head_dim;
    p.q_norm = &weight;
    p.k_norm = &weight;
    return kernels::rotary_backward_workspace_bytes<D, T>(p);
  });
}

int64_t linear_cross_entropy_bytes(const HeadShape& shape) {
  return with_types(shape, [&]<class D, class T>() {
    return kernels::linear_cross_entropy_workspace_bytes<D, T>(
        {.tokens = shape.tokens, .vocab = shape.vocab, .dim = shape.dim, .counted_tokens = shape.counted_tokens});
  });
}

int64_t gradient_norm_bytes(DeviceType device, int64_t chunks) {
  kernels::SquaredNormParams p;
  p.list.chunk_count = chunks;
  return with_device(device, [&]<class D>() { return kernels::squared_norm_workspace_bytes<D>(p); });
}

}  // namespace subspect::runtime::ops
