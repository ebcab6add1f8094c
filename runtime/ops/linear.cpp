// Linear layers and the plain language-model head.
#include "runtime/ops/linear.h"

#include "kernels/bias.h"
#include "kernels/linear.h"
#include "runtime/dispatch.h"
#include "runtime/ops/checks.h"

namespace subspect::runtime::ops {

namespace {

void check(const Stream& stream, const Tensor& x, const Parameter& weight, const Parameter* bias, const char* op) {
  require_matrix(stream, x, op, "x");
  require_matrix(stream, weight.value, op, "the weight");
  require_tensor(stream, weight.value, {weight.value.size(0), x.size(1)}, x.dtype(), op, "the weight");
  if (bias != nullptr) require_tensor(stream, bias->value, {weight.value.size(0)}, x.dtype(), op, "the bias");
}

Tensor backward_input(Stream& stream, const Tensor& dy, const Parameter& weight) {
  Tensor dx = Tensor::empty(stream, {dy.size(0), weight.value.size(1)}, dy.dtype());
  dispatch(stream, dy.dtype(), "linear", [&]<class D, class T>(kernels::Context<D> context) {
    kernels::linear_backward_input<D, T>(context, {.dy = dy.data<T>(),
                                                   .weight = weight.value.data<T>(),
                                                   .dx = dx.data<T>(),
                                                   .rows = dy.size(0),
                                                   .in = dx.size(1),
                                                   .out = dy.size(1)});
  });
  return dx;
}

void backward_weight(Stream& stream, const Tensor& dy, const Tensor& x, const Parameter& weight) {
  dispatch(stream, dy.dtype(), "linear", [&]<class D, class T>(kernels::Context<D> context) {
    kernels::linear_backward_weight<D, T>(context, {.dy = dy.data<T>(),
                                                    .x = x.data<T>(),
                                                    .dweight = grad_data(weight),
                                                    .rows = dy.size(0),
                                                    .in = x.size(1),
                                                    .out = dy.size(1)});
  });
}

void backward_bias(Stream& stream, const Tensor& dy, const Parameter& bias) {
  dispatch(stream, dy.dtype(), "linear", [&]<class D, class T>(kernels::Context<D> context) {
    kernels::BiasGradientParams<T> p{
        .dy = dy.data<T>(), .dbias = grad_data(bias), .rows = dy.size(0), .cols = dy.size(1)};
    const Tensor scratch = workspace(stream, kernels::bias_gradient_workspace_bytes<D, T>(p));
    p.workspace = scratch.raw();
    kernels::bias_gradient<D, T>(context, p);
  });
}

}  // namespace

Variable linear(const Execution& on, const Variable& x, Parameter& weight, Parameter* bias) {
  check(on.stream, x.value, weight, bias, "linear");
  Tensor y = Tensor::empty(on.stream, {x.value.size(0), weight.value.size(0)}, x.value.dtype());
  dispatch(on.stream, y.dtype(), "linear", [&]<class D, class T>(kernels::Context<D> context) {
    kernels::linear_forward<D, T, T>(context, {.x = x.value.data<T>(),
                                               .weight = weight.value.data<T>(),
                                               .bias = bias != nullptr ? bias->value.data<T>() : nullptr,
                                               .y = y.data<T>(),
                                               .rows = x.value.size(0),
                                               .in = x.value.size(1),
                                               .out = y.size(1)});
  });
  const bool bias_trained = bias != nullptr && bias->trained();
  if (on.tape == nullptr || !(x.wants_grad() || weight.trained() || bias_trained)) return {std::move(y)};
  const Saved saved = weight.trained() ? Saved(x) : Saved();
  auto backward = [saved, id = x.id, &weight, bias](Tape& tape, std::span<const Tensor> output_grads) {
    const Tensor& dy = output_grads[0];
    if (weight.trained()) backward_weight(tape.stream(), dy, saved.get(tape.stream()), weight);
    if (bias != nullptr && bias->trained()) backward_bias(tape.stream(), dy, *bias);
    if (id >= 0) tape.accumulate({Tensor(), id}, backward_input(tape.stream(), dy, weight));
  };
  return on.tape->record("linear", {std::move(y)}, std::move(backward))[0];
}

Tensor logits(const Execution& on, const Tensor& x, const Parameter& weight) {
  check(on.stream, x, weight, nullptr, "logits");
  Tensor y = Tensor::empty(on.stream, {x.size(0), weight.value.size(0)}, DType::float32);
  dispatch(on.stream, x.dtype(), "logits", [&]<class D, class T>(kernels::Context<D> context) {
    kernels::linear_forward<D, T, float>(context, {.x = x.data<T>(),
                                                   .weight = weight.value.data<T>(),
                                                   .bias = nullptr,
                                                   .y = y.data<float>(),
                                                   .rows = x.size(0),
                                                   .in = x.size(1),
                                                   .out = y.size(1)});
  });
  return y;
}

}  // namespace subspect::runtime::ops
