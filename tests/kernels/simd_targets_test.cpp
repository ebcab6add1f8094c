// Every instruction set that the kernels are compiled for and this machine has gives the results of the plain C++ one.
// Included first: it says for which sets the kernels are compiled.
#include "kernels/cpu/simd_targets.h"

// Not sorted in with the rest.
#include <hwy/highway.h>

#include "kernels/attention.h"
#include "kernels/bias.h"
#include "kernels/elementwise.h"
#include "kernels/gated_activation.h"
#include "kernels/linear.h"
#include "kernels/linear_cross_entropy.h"
#include "kernels/paged_attention.h"
#include "kernels/rms_norm.h"
#include "kernels/rotary.h"
#include "tests/kernels/optimizer_lists.h"
#include "tests/kernels/support.h"

namespace subspect::kernels::test {
namespace {

constexpr int64_t tokens = 75;
constexpr int64_t heads = 4;
constexpr int64_t kv_heads = 2;
constexpr int64_t head_dim = 20;
constexpr int64_t hidden = heads * head_dim;
constexpr int64_t width = (heads + 2 * kv_heads) * head_dim;
constexpr int64_t vocab = 53;

/// Calls a kernel with the workspace it asks for.
template <class Params, class Bytes, class Kernel>
void with_workspace(Params p, const Bytes& bytes, const Kernel& kernel) {
  const Workspace workspace(bytes(p));
  p.workspace = workspace.get();
  kernel(p);
}

/// One block of a transformer forward and backward, kernel by kernel: all that was computed.
template <class T>
std::vector<float> run_block(Context<Cpu> on) {
  const auto x = random_values<T>(tokens * hidden, 1);
  const auto residual = random_values<T>(tokens * hidden, 2);
  const auto norm = random_values<T>(hidden, 3);
  const auto w_qkv = random_values<T>(width * hidden, 4, 0.1F);
  const auto bias = random_values<T>(width, 5);
  const auto head_norm = random_values<T>(head_dim, 6);
  const auto head = random_values<T>(vocab * hidden, 7, 0.2F);
  const auto targets = random_ids(tokens, vocab, 8);
  std::vector<T> sum(x.size()), normed(x.size()), qkv(static_cast<size_t>(tokens * width)), rotated(qkv.size());
  std::vector<T> attended(x.size()), gated(x.size() / 2), dx(x.size()), dqkv(qkv.size()), drotated(qkv.size());
  std::vector<float> inv_rms(tokens), logsumexp(heads * tokens), dw(w_qkv.size()), dhead(head.size()), dnorm(hidden);
  std::vector<float> dq_norm(head_dim), dk_norm(head_dim), dbias(width), log_p(tokens);
  std::vector<int32_t> positions(tokens);
  for (size_t t = 0; t < positions.size(); ++t) positions[t] = static_cast<int32_t>(t);
  const std::vector<float> inv_freq = {1.0F, 0.5F, 0.1F, 0.03F, 0.01F, 0.003F, 0.001F, 0.0003F};
  const std::vector<int32_t> cu_seqlens = {0, 10, tokens};
  rms_norm_forward(on, RmsNormForwardParams<T>{x.data(), residual.data(), norm.data(), sum.data(), normed.data(),
                                               inv_rms.data(), tokens, hidden, 1e-5F});
  linear_forward(on,
                 LinearForwardParams<T>{normed.data(), w_qkv.data(), bias.data(), qkv.data(), tokens, hidden, width});
  const RotaryShape rotary{positions.data(), inv_freq.data(), 1.0F, tokens, heads, kv_heads, head_dim, 16, 1e-5F};
  rotary_forward(on, RotaryForwardParams<T>{rotary, qkv.data(), rotated.data(), head_norm.data(), head_norm.data()});
  const AttentionShape shape{cu_seqlens.data(), 2, tokens, tokens, heads, kv_heads, head_dim, 0.22F, 30};
  const T* k = rotated.data() + hidden;
  const T* v = k + kv_heads * head_dim;
  attention_forward(on, AttentionForwardParams<T>{shape, rotated.data(), k, v, width, width, width, attended.data(),
                                                  hidden, logsumexp.data()});
  gated_activation_forward(on, GatedActivationForwardParams<T>{attended.data(), gated.data(), tokens, hidden / 2});
  double loss = 0;
  LinearCrossEntropyParams<T> ce{attended.data(), head.data(),  targets.data(), &loss,  nullptr, log_p.data(),
                                 dx.data(),       dhead.data(), 1.0F,           tokens, vocab,   hidden};
  with_workspace(
      ce, [](const auto& p) { return linear_cross_entropy_workspace_bytes<Cpu>(p); },
      [&](const auto& p) { linear_cross_entropy(on, p); });
  AttentionBackwardParams<T> ab{shape,
                                rotated.data(),
                                k,
                                v,
                                width,
                                width,
                                width,
                                attended.data(),
                                dx.data(),
                                hidden,
                                hidden,
                                logsumexp.data(),
                                drotated.data(),
                                drotated.data() + hidden,
                                drotated.data() + hidden + kv_heads * head_dim,
                                width,
                                width,
                                width};
  with_workspace(
      ab, [](const auto& p) { return attention_backward_workspace_bytes<Cpu>(p); },
      [&](const auto& p) { attention_backward(on, p); });
  RotaryBackwardParams<T> rb{rotary,           drotated.data(),  dqkv.data(),    qkv.data(),
                             head_norm.data(), head_norm.data(), dq_norm.data(), dk_norm.data()};
  with_workspace(
      rb, [](const auto& p) { return rotary_backward_workspace_bytes<Cpu>(p); },
      [&](const auto& p) { rotary_backward(on, p); });
  BiasGradientParams<T> bg{dqkv.data(), dbias.data(), tokens, width};
  with_workspace(
      bg, [](const auto& p) { return bias_gradient_workspace_bytes<Cpu>(p); },
      [&](const auto& p) { bias_gradient(on, p); });
  linear_backward_weight(on,
                         LinearBackwardWeightParams<T>{dqkv.data(), normed.data(), dw.data(), tokens, hidden, width});
  linear_backward_input(on, LinearBackwardInputParams<T>{dqkv.data(), w_qkv.data(), dx.data(), tokens, hidden, width});
  RmsNormBackwardParams<T> nb{sum.data(), norm.data(),  inv_rms.data(), dx.data(), nullptr,
                              dx.data(),  dnorm.data(), tokens,         hidden};
  with_workspace(
      nb, [](const auto& p) { return rms_norm_backward_workspace_bytes<Cpu>(p); },
      [&](const auto& p) { rms_norm_backward(on, p); });
  return joined(normed, qkv, rotated, attended, gated, log_p, dhead, drotated, dqkv, dq_norm, dk_norm, dbias, dw, dx,
                dnorm);
}

void choose_target(int64_t target) {
  hwy::SetSupportedTargetsForTest(target);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

template <class T>
void expect_targets_agree(double tolerance) {
  const std::vector<int64_t> targets = hwy::SupportedAndGeneratedTargets();
  choose_target(HWY_STATIC_TARGET);
  const std::vector<float> expected = run_block<T>(context());
  for (const int64_t target : targets) {
    SCOPED_TRACE(hwy::TargetName(target));
    choose_target(target);
    expect_norm_close(run_block<T>(context()), widen(expected), tolerance);
    expect_same_for_all_teams([](Context<Cpu> on) { return run_block<T>(on); });
  }
  choose_target(0);
}

/// Tensors in all forms after two steps of AdamW and one of SGD, with gradients clipped to their norm.
std::vector<TensorData> run_optimizers() {
  std::vector<TensorData> tensors = tensors_of_all_forms();
  for (int64_t number = 1; number <= 3; ++number) {
    set_gradients(tensors, number);
    const HostList list(tensors);
    const GradientSummary summary = summary_of(context(), list.list());
    float scale = 0;
    clip_scale(context(), ClipScaleParams{&summary, 0.7, &scale});
    const UpdateParams update{.list = list.list(),
                              .lr = 0.01F,
                              .number = number,
                              .grad_scale = &scale,
                              .stochastic_rounding = true,
                              .seed = 3};
    if (number == 3) {
      sgd_step(context(), SgdParams{update, 0.9F});
    } else {
      adamw_step(context(), AdamWParams{.update = update});
    }
  }
  return tensors;
}

TEST(SimdTargets, UpdateWeightsWithTheSameBits) {
  const std::vector<int64_t> targets = hwy::SupportedAndGeneratedTargets();
  choose_target(HWY_STATIC_TARGET);
  const std::vector<TensorData> expected = run_optimizers();
  for (const int64_t target : targets) {
    SCOPED_TRACE(hwy::TargetName(target));
    choose_target(target);
    expect_same_tensors(run_optimizers(), expected);
  }
  choose_target(0);
}

TEST(SimdTargets, AgreeInFloat32) {
  expect_targets_agree<float>(1e-5);
}

// A sum that differs in its last float32 bit may round to another bfloat16.
TEST(SimdTargets, AgreeInBfloat16) {
  expect_targets_agree<bfloat16>(0.02);
}

}  // namespace
}  // namespace subspect::kernels::test
