// The language-model head fused with cross-entropy.
#include "runtime/ops/cross_entropy.h"

#include <utility>

#include "kernels/elementwise.h"
#include "kernels/linear_cross_entropy.h"
#include "runtime/dispatch.h"
#include "runtime/ops/checks.h"

namespace subspect::runtime::ops {

namespace {

static_assert(ignored_target == kernels::ignored_target);

struct Request {
  Tensor log_probabilities = {};  // [T] float32, or undefined: not wanted
  Tensor dx = {};                 // [T, D], or undefined: not wanted
  float* dweight = nullptr;
  float gradient_scale = 1.0F;
  int64_t counted_tokens = -1;
};

struct Totals {
  Tensor loss_sum;
  Tensor target_count;
};

Totals run(Stream& stream, const Tensor& x, const Parameter& weight, const Tensor& targets, const Request& request,
           const char* op) {
  require_matrix(stream, x, op, "x");
  require_matrix(stream, weight.value, op, "the weight");
  require_tensor(stream, weight.value, {weight.value.size(0), x.size(1)}, x.dtype(), op, "the weight");
  require_tensor(stream, targets, {x.size(0)}, DType::int32, op, "targets");
  Totals totals{Tensor::zeros(stream, {1}, DType::float64), Tensor::zeros(stream, {1}, DType::int64)};
  dispatch(stream, x.dtype(), op, [&]<class D, class T>(kernels::Context<D> context) {
    kernels::LinearCrossEntropyParams<T> p{
        .x = x.data<T>(),
        .weight = weight.value.data<T>(),
        .targets = targets.data<int32_t>(),
        .loss_sum = totals.loss_sum.data<double>(),
        .target_count = totals.target_count.data<int64_t>(),
        .log_probabilities = request.log_probabilities.defined() ? request.log_probabilities.data<float>() : nullptr,
        .dx = request.dx.defined() ? request.dx.data<T>() : nullptr,
        .dweight = request.dweight,
        .gradient_scale = request.gradient_scale,
        .tokens = x.size(0),
        .vocab = weight.value.size(0),
        .dim = x.size(1),
        .counted_tokens = request.counted_tokens};
    const Tensor scratch = workspace(stream, kernels::linear_cross_entropy_workspace_bytes<D, T>(p));
    p.workspace = scratch.raw();
    kernels::linear_cross_entropy<D, T>(context, p);
  });
  return totals;
}

Tensor scaled_loss(Stream& stream, const Tensor& loss_sum, float gradient_scale) {
  Tensor loss = loss_sum.to(stream, DType::float32);
  dispatch_device(stream, [&]<class D>(kernels::Context<D> context) {
    kernels::scale<D, float>(context, loss.data<float>(), gradient_scale, loss.data<float>(), 1);
  });
  return loss;
}

}  // namespace

CrossEntropy linear_cross_entropy(const Execution& on, const Variable& x, Parameter& weight, const Tensor& targets,
                                  float gradient_scale, int64_t counted_tokens) {
  const bool recorded = on.tape != nullptr && (x.wants_grad() || weight.trained());
  Request request{.gradient_scale = gradient_scale, .counted_tokens = counted_tokens};
  if (recorded && x.wants_grad()) request.dx = Tensor::empty(on.stream, x.value.shape(), x.value.dtype());
  if (recorded) request.dweight = grad_data(weight);
  const Totals totals = run(on.stream, x.value, weight, targets, request, "linear_cross_entropy");

  CrossEntropy result{totals.loss_sum, totals.target_count, {scaled_loss(on.stream, totals.loss_sum, gradient_scale)}};
  if (!recorded) return result;
  auto walk = [dx = std::move(request.dx), id = x.id](Tape& tape, std::span<const Tensor>) mutable {
    tape.accumulate({Tensor(), id}, std::exchange(dx, Tensor()));
  };
  result.loss = on.tape->record("linear_cross_entropy", {result.loss.value}, std::move(walk))[0];
  return result;
}

Tensor token_log_probabilities(const Execution& on, const Tensor& x, const Parameter& weight, const Tensor& targets,
                               int64_t counted_tokens) {
  Request request{.counted_tokens = counted_tokens};
  request.log_probabilities = Tensor::empty(on.stream, {x.size(0)}, DType::float32);
  run(on.stream, x, weight, targets, request, "token_log_probabilities");
  return request.log_probabilities;
}

}  // namespace subspect::runtime::ops
