// Gated activations.
#include "runtime/ops/gated_activation.h"

#include "kernels/gated_activation.h"
#include "runtime/dispatch.h"
#include "runtime/ops/checks.h"

namespace subspect::runtime::ops {

namespace {

kernels::GatedActivation kernel_activation(Activation activation) {
  return activation == Activation::silu ? kernels::GatedActivation::silu : kernels::GatedActivation::gelu_tanh;
}

Tensor forward(Stream& stream, const Tensor& gate_up, Activation activation) {
  Tensor y = Tensor::empty(stream, {gate_up.size(0), gate_up.size(1) / 2}, gate_up.dtype());
  dispatch(stream, y.dtype(), "gated_activation", [&]<class D, class T>(kernels::Context<D> context) {
    kernels::gated_activation_forward<D, T>(context, {.gate_up = gate_up.data<T>(),
                                                      .y = y.data<T>(),
                                                      .rows = y.size(0),
                                                      .cols = y.size(1),
                                                      .activation = kernel_activation(activation)});
  });
  return y;
}

Tensor backward(Stream& stream, const Tensor& dy, const Tensor& gate_up, Activation activation) {
  Tensor dgate_up = reuse_or_empty(stream, gate_up);
  dispatch(stream, dy.dtype(), "gated_activation", [&]<class D, class T>(kernels::Context<D> context) {
    kernels::gated_activation_backward<D, T>(context, {.gate_up = gate_up.data<T>(),
                                                       .dy = dy.data<T>(),
                                                       .dgate_up = dgate_up.data<T>(),
                                                       .rows = dy.size(0),
                                                       .cols = dy.size(1),
                                                       .activation = kernel_activation(activation)});
  });
  return dgate_up;
}

}  // namespace

Variable gated_activation(const Execution& on, const Variable& gate_up, Activation activation) {
  const Tensor& x = gate_up.value;
  require_matrix(on.stream, x, "gated_activation", "gate_up");
  require(x.size(1) % 2 == 0, "gated_activation", "the columns must be gate and up. Received {}.",
          to_string(x.shape()));
  Tensor y = forward(on.stream, x, activation);
  if (on.tape == nullptr || !gate_up.wants_grad()) return {std::move(y)};
  auto walk = [saved = x, id = gate_up.id, activation](Tape& tape, std::span<const Tensor> output_grads) {
    tape.accumulate({Tensor(), id}, backward(tape.stream(), output_grads[0], saved, activation));
  };
  Variable result = on.tape->record("gated_activation", {std::move(y)}, std::move(walk))[0];
  if (on.remakes) {
    result.remake =
        std::make_shared<const Remake>([x, activation](Stream& stream) { return forward(stream, x, activation); });
  }
  return result;
}

}  // namespace subspect::runtime::ops
