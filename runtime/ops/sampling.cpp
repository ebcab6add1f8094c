// Sampling ops: shape checks, workspace, and the kernels.
#include "runtime/ops/sampling.h"

#include <algorithm>

#include "kernels/sampling.h"
#include "runtime/dispatch.h"
#include "runtime/error.h"
#include "runtime/ops/checks.h"

namespace subspect::runtime::ops {

namespace {

void check_logits(const Tensor& logits, std::string_view op) {
  require(logits.dim() == 2 && logits.size(1) > 0 && logits.is_contiguous(), op,
          "logits must be contiguous [rows, vocab]. Received {}.", to_string(logits.shape()));
}

}  // namespace

void penalize_repetition(const Execution& on, const Tensor& logits, const Tensor& tokens, const Tensor& offsets,
                         float penalty) {
  check_logits(logits, "penalize_repetition");
  require(offsets.numel() == logits.size(0) + 1, "penalize_repetition", "offsets must be rows + 1. Received {} and {}.",
          offsets.numel(), logits.size(0));
  require(penalty > 0, "penalize_repetition", "the penalty must be above 0. Received {}.", penalty);
  dispatch_device(on.stream, [&]<kernels::Device D>(kernels::Context<D> context) {
    kernels::repetition_penalty(context, {.logits = logits.data<float>(),
                                          .tokens = tokens.data<int32_t>(),
                                          .offsets = offsets.data<int64_t>(),
                                          .rows = logits.size(0),
                                          .vocab = logits.size(1),
                                          .penalty = penalty});
  });
}

Tensor argmax(const Execution& on, const Tensor& logits) {
  check_logits(logits, "argmax");
  Tensor ids = Tensor::empty(on.stream, {logits.size(0)}, DType::int32);
  dispatch_device(on.stream, [&]<kernels::Device D>(kernels::Context<D> context) {
    kernels::argmax(context, logits.data<float>(), ids.data<int32_t>(), logits.size(0), logits.size(1));
  });
  return ids;
}

Tensor sample(const Execution& on, const Tensor& logits, const Tensor& uniforms, const SamplingParams& params) {
  check_logits(logits, "sample");
  require(uniforms.numel() == logits.size(0), "sample", "one uniform number per row is required. Received {} for {}.",
          uniforms.numel(), logits.size(0));
  Tensor ids = Tensor::empty(on.stream, {logits.size(0)}, DType::int32);
  kernels::SampleParams kernel_params{.logits = logits.data<float>(),
                                      .uniform = uniforms.data<float>(),
                                      .ids = ids.data<int32_t>(),
                                      .rows = logits.size(0),
                                      .vocab = logits.size(1),
                                      .temperature = params.temperature,
                                      .top_k = params.top_k,
                                      .top_p = params.top_p,
                                      .workspace = nullptr};
  dispatch_device(on.stream, [&]<kernels::Device D>(kernels::Context<D> context) {
    const int64_t bytes = std::max<int64_t>(1, kernels::sample_workspace_bytes<D>(kernel_params));
    const Tensor scratch = workspace(on.stream, bytes);
    kernel_params.workspace = scratch.raw();
    kernels::sample(context, kernel_params);
  });
  return ids;
}

}  // namespace subspect::runtime::ops
