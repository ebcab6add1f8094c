// RMS norm, alone and fused with the residual addition.
#include "runtime/ops/rms_norm.h"

#include <utility>

#include "kernels/rms_norm.h"
#include "runtime/dispatch.h"
#include "runtime/ops/checks.h"

namespace subspect::runtime::ops {

namespace {

struct Forward {
  Tensor h;        // what was normalised
  Tensor y;        // the normalised rows
  Tensor inv_rms;  // [T] float32; undefined where no backward pass follows
};

// `residual` may be undefined: then h is x itself.
Forward forward(Stream& stream, const Tensor& x, const Tensor& residual, const Parameter& weight, float eps,
                bool recorded) {
  require_matrix(stream, x, "rms_norm", "x");
  require_tensor(stream, weight.value, {x.size(1)}, x.dtype(), "rms_norm", "the weight");
  const bool fused = residual.defined();
  if (fused) require_tensor(stream, residual, x.shape(), x.dtype(), "add_rms_norm", "the residual stream");
  Forward result;
  result.h = fused ? Tensor::empty(stream, x.shape(), x.dtype()) : x;
  result.y = Tensor::empty(stream, x.shape(), x.dtype());
  if (recorded) result.inv_rms = Tensor::empty(stream, {x.size(0)}, DType::float32);
  dispatch(stream, x.dtype(), "rms_norm", [&]<class D, class T>(kernels::Context<D> context) {
    kernels::rms_norm_forward<D, T>(context, {.x = x.data<T>(),
                                              .residual = fused ? residual.data<T>() : nullptr,
                                              .weight = weight.value.data<T>(),
                                              .residual_out = fused ? result.h.data<T>() : nullptr,
                                              .y = result.y.data<T>(),
                                              .inv_rms = recorded ? result.inv_rms.data<float>() : nullptr,
                                              .rows = x.size(0),
                                              .cols = x.size(1),
                                              .eps = eps});
  });
  return result;
}

// How the norm's output is made again: from the rows that its backward pass keeps.
std::shared_ptr<const Remake> remake_of(const Execution& on, const Tensor& h, const Parameter& weight, float eps) {
  if (!on.remakes) return nullptr;
  return std::make_shared<const Remake>(
      [h, &weight, eps](Stream& stream) { return forward(stream, h, Tensor(), weight, eps, false).y; });
}

// The gradient of h; `dresidual` (undefined: none) is the part that reaches h past the norm.
Tensor backward(Stream& stream, const Forward& saved, const Parameter& weight, const Tensor& dy,
                const Tensor& dresidual) {
  Tensor dx = reuse_or_empty(stream, dy);
  dispatch(stream, dy.dtype(), "rms_norm", [&]<class D, class T>(kernels::Context<D> context) {
    kernels::RmsNormBackwardParams<T> p{.h = saved.h.data<T>(),
                                        .weight = weight.value.data<T>(),
                                        .inv_rms = saved.inv_rms.data<float>(),
                                        .dy = dy.data<T>(),
                                        .dresidual = dresidual.defined() ? dresidual.data<T>() : nullptr,
                                        .dx = dx.data<T>(),
                                        .dweight = grad_data(weight),
                                        .rows = dy.size(0),
                                        .cols = dy.size(1)};
    const Tensor scratch = workspace(stream, kernels::rms_norm_backward_workspace_bytes<D, T>(p));
    p.workspace = scratch.raw();
    kernels::rms_norm_backward<D, T>(context, p);
  });
  return dx;
}

}  // namespace

Variable rms_norm(const Execution& on, const Variable& x, Parameter& weight, float eps) {
  const bool recorded = on.tape != nullptr && (x.wants_grad() || weight.trained());
  Forward saved = forward(on.stream, x.value, Tensor(), weight, eps, recorded);
  Tensor y = std::exchange(saved.y, Tensor());
  if (!recorded) return {std::move(y)};
  auto remake = remake_of(on, saved.h, weight, eps);
  auto walk = [saved = std::move(saved), id = x.id, &weight](Tape& tape, std::span<const Tensor> output_grads) {
    tape.accumulate({Tensor(), id}, backward(tape.stream(), saved, weight, output_grads[0], Tensor()));
  };
  Variable normed = on.tape->record("rms_norm", {std::move(y)}, std::move(walk))[0];
  normed.remake = std::move(remake);
  return normed;
}

AddRmsNorm add_rms_norm(const Execution& on, const Variable& residual, const Variable& x, Parameter& weight,
                        float eps) {
  const bool recorded = on.tape != nullptr && (residual.wants_grad() || x.wants_grad() || weight.trained());
  Forward saved = forward(on.stream, x.value, residual.value, weight, eps, recorded);
  Tensor y = std::exchange(saved.y, Tensor());
  if (!recorded) return {{saved.h}, {std::move(y)}};
  const Tensor h = saved.h;
  auto walk = [saved = std::move(saved), residual_id = residual.id, x_id = x.id, &weight](
                  Tape& tape, std::span<const Tensor> output_grads) {
    const Tensor& dresidual = output_grads[0];
    const Tensor& dy = output_grads[1];
    const Tensor dh = dy.defined() ? backward(tape.stream(), saved, weight, dy, dresidual) : dresidual;
    tape.accumulate({Tensor(), residual_id}, dh);
    tape.accumulate({Tensor(), x_id}, dh);
  };
  std::vector<Variable> outputs = on.tape->record("add_rms_norm", {h, std::move(y)}, std::move(walk));
  outputs[1].remake = remake_of(on, h, weight, eps);
  return {std::move(outputs[0]), std::move(outputs[1])};
}

}  // namespace subspect::runtime::ops
