// Norms, rotary embeddings and biases: Qwen2.5-7B's sizes, 8192 tokens.
#include "bench/simt/inputs.h"
#include "kernels/bias.h"
#include "kernels/rms_norm.h"
#include "kernels/rotary.h"

namespace subspect::bench {
namespace {

using namespace kernels;

constexpr int64_t tokens = 8192;

template <class T>
void norm_forward(int64_t rows, int64_t cols, bool with_residual) {
  const auto x = normal<T>(rows * cols, 1);
  const auto residual = normal<T>(rows * cols, 2);
  const auto weight = normal<T>(cols, 3);
  const auto sum = unwritten<T>(rows * cols);
  const auto y = unwritten<T>(rows * cols);
  const auto inv_rms = unwritten<float>(rows);
  rms_norm_forward(gpu, RmsNormForwardParams<T>{.x = x.data(),
                                                .residual = with_residual ? residual.data() : nullptr,
                                                .weight = weight.data(),
                                                .residual_out = with_residual ? sum.data() : nullptr,
                                                .y = y.data(),
                                                .inv_rms = inv_rms.data(),
                                                .rows = rows,
                                                .cols = cols});
}

template <class T>
void norm_backward(int64_t rows, int64_t cols) {
  const auto h = normal<T>(rows * cols, 1);
  const auto dy = normal<T>(rows * cols, 2);
  const auto weight = normal<T>(cols, 3);
  const auto inv_rms = normal<float>(rows, 4);
  const auto dx = unwritten<T>(rows * cols);
  const auto dweight = zeros<float>(cols);
  RmsNormBackwardParams<T> p{.h = h.data(),
                             .weight = weight.data(),
                             .inv_rms = inv_rms.data(),
                             .dy = dy.data(),
                             .dx = dx.data(),
                             .dweight = dweight.data(),
                             .rows = rows,
                             .cols = cols};
  const auto workspace = unwritten<std::byte>(rms_norm_backward_workspace_bytes<Cuda>(p));
  p.workspace = workspace.data();
  rms_norm_backward(gpu, p);
}

/// 28 query heads, 4 key and 4 value heads of 128 dimensions.
template <class T>
struct Rotary {
  static constexpr int64_t heads = 28;
  static constexpr int64_t kv_heads = 4;
  static constexpr int64_t d = 128;
  int64_t rows;
  int64_t width = (heads + 2 * kv_heads) * d;
  DeviceBuffer<int32_t> positions = counting<int32_t>(rows);
  DeviceBuffer<float> inv_freq = counting<float>(d / 2, 1.0F, -0.01F);
  DeviceBuffer<T> x = normal<T>(rows * width, 1);
  DeviceBuffer<T> y = unwritten<T>(rows * width);
  DeviceBuffer<T> norm = normal<T>(d, 2);
  DeviceBuffer<T> forward_input = normal<T>(rows * width, 3);
  DeviceBuffer<float> dnorm = zeros<float>(2 * d);

  explicit Rotary(int64_t count) : rows(count) {}

  RotaryShape shape() const { return {positions.data(), inv_freq.data(), 1.0F, rows, heads, kv_heads, d, d, 1e-6F}; }
  void forward(bool with_norm) const {
    const T* weight = with_norm ? norm.data() : nullptr;
    rotary_forward(gpu, RotaryForwardParams<T>{shape(), x.data(), y.data(), weight, weight});
  }
  void backward(bool with_norm) const {
    RotaryBackwardParams<T> p{.shape = shape(), .dout = x.data(), .dqkv = y.data()};
    if (with_norm) {
      p.qkv = forward_input.data();
      p.q_norm = p.k_norm = norm.data();
      p.dq_norm = dnorm.data();
      p.dk_norm = dnorm.data() + d;
    }
    const auto workspace = unwritten<std::byte>(rotary_backward_workspace_bytes<Cuda>(p));
    p.workspace = workspace.data();
    rotary_backward(gpu, p);
  }
};

CostSizes rotary_sizes(int64_t rows) {
  using R = Rotary<bfloat16>;
  return {.rows = real(rows),
          .heads = real(R::heads),
          .kv_heads = real(R::kv_heads),
          .head_dim = real(R::d),
          .element = sizeof(bfloat16)};
}

template <class T>
void add_bias(int64_t rows, int64_t cols) {
  const auto x = normal<T>(rows * cols, 1);
  const auto bias = normal<T>(cols, 2);
  bias_add(gpu, BiasAddParams<T>{x.data(), bias.data(), x.data(), rows, cols});
}

template <class T>
void sum_bias(int64_t rows, int64_t cols) {
  const auto dy = normal<T>(rows * cols, 1);
  const auto dbias = zeros<float>(cols);
  BiasGradientParams<T> p{dy.data(), dbias.data(), rows, cols};
  const auto workspace = unwritten<std::byte>(bias_gradient_workspace_bytes<Cuda>(p));
  p.workspace = workspace.data();
  bias_gradient(gpu, p);
}

CostSizes matrix(int64_t rows, int64_t cols, size_t element) {
  return {.rows = real(rows), .cols = real(cols), .element = static_cast<double>(element)};
}

/// Reads two tensors and writes two.
KernelCost residual_cost(const CostSizes& s) {
  return {4 * s.rows * s.cols * s.element, 5 * s.rows * s.cols};
}

/// Reads the forward pass's input for query and key heads too.
KernelCost rotary_norm_cost(const CostSizes& s) {
  const double heads = 2 * (s.heads + 2 * s.kv_heads) + s.heads + s.kv_heads;
  return {s.rows * heads * s.head_dim * s.element, 20 * s.rows * (s.heads + s.kv_heads) * s.head_dim};
}

template <class T>
void add_norms(std::vector<Case>& cases) {
  constexpr int64_t cols = 3584;
  const CostSizes declared = matrix(tokens, cols, sizeof(T));
  cases.push_back(registered("rms_norm_forward", "", type_name<T>(), matrix(256, cols, sizeof(T)), declared,
                             [] { norm_forward<T>(256, cols, false); }));
  cases.push_back(unregistered("rms_norm_forward, residual", type_name<T>(), matrix(256, cols, sizeof(T)), declared,
                               residual_cost, [] { norm_forward<T>(256, cols, true); }));
  cases.push_back(registered("rms_norm_backward", "", type_name<T>(), matrix(tokens, 512, sizeof(T)), declared,
                             [] { norm_backward<T>(tokens, 512); }));
}

}  // namespace

std::vector<Case> norm_cases() {
  std::vector<Case> cases;
  add_norms<bfloat16>(cases);
  add_norms<float>(cases);
  using R = Rotary<bfloat16>;
  const CostSizes declared = rotary_sizes(tokens);
  cases.push_back(
      registered("rotary_forward", "", "bfloat16", rotary_sizes(256), declared, [] { R(256).forward(false); }));
  cases.push_back(
      registered("rotary_forward", "norm", "bfloat16", rotary_sizes(256), declared, [] { R(256).forward(true); }));
  cases.push_back(
      registered("rotary_backward", "", "bfloat16", rotary_sizes(256), declared, [] { R(256).backward(false); }));
  cases.push_back(unregistered("rotary_backward, norm", "bfloat16", rotary_sizes(528), declared, rotary_norm_cost,
                               [] { R(528).backward(true); }));
  const CostSizes projected = matrix(tokens, 4608, sizeof(bfloat16));
  cases.push_back(registered("bias_add", "", "bfloat16", matrix(256, 4608, sizeof(bfloat16)), projected,
                             [] { add_bias<bfloat16>(256, 4608); }));
  cases.push_back(registered("bias_gradient", "", "bfloat16", matrix(tokens, 512, sizeof(bfloat16)), projected,
                             [] { sum_bias<bfloat16>(tokens, 512); }));
  return cases;
}

}  // namespace subspect::bench
