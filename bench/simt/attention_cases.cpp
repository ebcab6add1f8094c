// Attention forward and backward: one head over one document, of 28 heads and 8 documents.
#include <cmath>

#include "bench/simt/inputs.h"
#include "kernels/attention.h"

namespace subspect::bench {
namespace {

using namespace kernels;

constexpr int64_t length = 1024;

/// Query heads that share one key/value head, over one document.
template <class T>
struct Attention {
  int64_t heads;
  int64_t d;
  int64_t width = (heads + 2) * d;
  DeviceBuffer<int32_t> cu_seqlens{std::vector<int32_t>{0, static_cast<int32_t>(length)}};
  DeviceBuffer<T> qkv = normal<T>(length * width, 1);
  DeviceBuffer<T> out = unwritten<T>(length * heads * d);
  DeviceBuffer<float> logsumexp = unwritten<float>(heads * length);

  Attention(int64_t head_count, int64_t head_dim) : heads(head_count), d(head_dim) {}

  AttentionShape shape() const {
    return {cu_seqlens.data(), 1, length, length, heads, 1, d, 1.0F / std::sqrt(static_cast<float>(d)), 0};
  }
  void forward() const {
    attention_forward(
        gpu, AttentionForwardParams<T>{shape(), qkv.data(), qkv.data() + heads * d, qkv.data() + (heads + 1) * d, width,
                                       width, width, out.data(), heads * d, logsumexp.data()});
  }
  /// The counts do not depend on what the forward pass left.
  void backward() const {
    const auto dout = normal<T>(length * heads * d, 2);
    const auto forward_out = normal<T>(length * heads * d, 3);
    const auto sums = zeros<float>(heads * length);
    const auto dqkv = unwritten<T>(length * width);
    AttentionBackwardParams<T> p{.shape = shape(),
                                 .q = qkv.data(),
                                 .k = qkv.data() + heads * d,
                                 .v = qkv.data() + (heads + 1) * d,
                                 .q_stride = width,
                                 .k_stride = width,
                                 .v_stride = width,
                                 .out = forward_out.data(),
                                 .dout = dout.data(),
                                 .out_stride = heads * d,
                                 .dout_stride = heads * d,
                                 .logsumexp = sums.data(),
                                 .dq = dqkv.data(),
                                 .dk = dqkv.data() + heads * d,
                                 .dv = dqkv.data() + (heads + 1) * d,
                                 .dq_stride = width,
                                 .dk_stride = width,
                                 .dv_stride = width};
    const auto workspace = unwritten<std::byte>(attention_backward_workspace_bytes<Cuda>(p));
    p.workspace = workspace.data();
    attention_backward(gpu, p);
  }
};

CostSizes sizes(int64_t documents, int64_t heads, int64_t kv_heads, int64_t d, size_t element) {
  return {.rows = real(documents * length),
          .heads = real(heads),
          .kv_heads = real(kv_heads),
          .head_dim = real(d),
          .pairs = real(documents) * causal_pairs(real(length)),
          .element = static_cast<double>(element)};
}

template <class T>
void add_cases(std::vector<Case>& cases, int64_t d) {
  const std::string variant = "head " + std::to_string(d);
  const CostSizes counted = sizes(1, 1, 1, d, sizeof(T));
  const CostSizes declared = sizes(8, 28, 4, d, sizeof(T));
  const double product = 2 * counted.pairs * real(d);
  Case forward = registered("attention_forward", variant, type_name<T>(), counted, declared,
                            [d] { Attention<T>(1, d).forward(); });
  Case backward = registered("attention_backward", variant, type_name<T>(), counted, declared,
                             [d] { Attention<T>(1, d).backward(); });
  forward.bound_by_memory = backward.bound_by_memory = false;
  if (sizeof(T) == 2) {
    forward.matrix_flops = {{"attention_forward", 2 * product}};
    // Probabilities and their gradients are computed for each direction anew: 3 products and 4, of 5 that a kernel with
    // atomic sums would need.
    backward.matrix_flops = {{"attention_backward_queries", 3 * product},
                             {"attention_backward_keys", 4 * product},
                             {"attention_backward_k", 3 * product},
                             {"attention_backward_v", 2 * product}};
  }
  cases.push_back(std::move(forward));
  cases.push_back(std::move(backward));
}

}  // namespace

std::vector<Case> attention_cases() {
  std::vector<Case> cases;
  add_cases<bfloat16>(cases, 64);
  add_cases<bfloat16>(cases, 128);
  add_cases<float>(cases, 64);
  return cases;
}

}  // namespace subspect::bench
