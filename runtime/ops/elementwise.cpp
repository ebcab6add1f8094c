// Elementwise ops and the sum of gradients.
#include "runtime/ops/elementwise.h"

#include "kernels/bias.h"
#include "kernels/elementwise.h"
#include "runtime/dispatch.h"
#include "runtime/ops/accumulate.h"
#include "runtime/ops/checks.h"

namespace subspect::runtime::ops {

namespace {

void add_tensors(const Stream& stream, const Tensor& a, const Tensor& b, const Tensor& y) {
  dispatch(stream, a.dtype(), "add", [&]<class D, class T>(kernels::Context<D> context) {
    kernels::add<D, T>(context, a.data<T>(), b.data<T>(), y.data<T>(), y.numel());
  });
}

}  // namespace

void fill(Stream& stream, const Tensor& target, double value) {
  require_tensor(stream, target, target.shape(), target.dtype(), "fill", "the target");
  dispatch(stream, target.dtype(), "fill", [&]<class D, class T>(kernels::Context<D> context) {
    kernels::fill<D, T>(context, target.data<T>(), value, target.numel());
  });
}

void add_into(Stream& stream, const Tensor& target, const Tensor& source) {
  require_tensor(stream, source, target.shape(), target.dtype(), "add_into", "the source");
  require_tensor(stream, target, target.shape(), target.dtype(), "add_into", "the target");
  add_tensors(stream, target, source, target);
}

Variable add(const Execution& on, const Variable& a, const Variable& b) {
  require_tensor(on.stream, a.value, a.value.shape(), a.value.dtype(), "add", "a");
  require_tensor(on.stream, b.value, a.value.shape(), a.value.dtype(), "add", "b");
  const Tensor y = Tensor::empty(on.stream, a.value.shape(), a.value.dtype());
  add_tensors(on.stream, a.value, b.value, y);
  if (on.tape == nullptr || !(a.wants_grad() || b.wants_grad())) return {y};
  const int64_t a_id = a.id;
  const int64_t b_id = b.id;
  return on.tape->record("add", {y}, [a_id, b_id](Tape& tape, std::span<const Tensor> output_grads) {
    tape.accumulate({Tensor(), a_id}, output_grads[0]);
    tape.accumulate({Tensor(), b_id}, output_grads[0]);
  })[0];
}

void add_row(Stream& stream, const Tensor& target, const Tensor& row) {
  require_matrix(stream, target, "add_row", "the target");
  require_tensor(stream, row, {target.size(1)}, target.dtype(), "add_row", "the row");
  dispatch(stream, target.dtype(), "add_row", [&]<class D, class T>(kernels::Context<D> context) {
    kernels::bias_add<D, T>(context, {.x = target.data<T>(),
                                      .bias = row.data<T>(),
                                      .y = target.data<T>(),
                                      .rows = target.size(0),
                                      .cols = target.size(1)});
  });
}

}  // namespace subspect::runtime::ops
