// Rotary position embedding with the optional query/key norm.
#include "runtime/ops/rotary.h"

#include <utility>

#include "kernels/rotary.h"
#include "runtime/dispatch.h"
#include "runtime/ops/checks.h"

namespace subspect::runtime::ops {

namespace {

RotaryParams check(const Stream& stream, const Tensor& qkv, RotaryParams params) {
  if (params.rotary_dim == 0) params.rotary_dim = params.head_dim;
  require_matrix(stream, qkv, "rotary", "qkv");
  require(params.rotary_dim > 0 && params.rotary_dim % 2 == 0 && params.rotary_dim <= params.head_dim, "rotary",
          "rotary_dim must be even and in [2, head_dim = {}]. Received {}.", params.head_dim, params.rotary_dim);
  require_tensor(stream, qkv, {qkv.size(0), (params.heads + 2 * params.kv_heads) * params.head_dim}, qkv.dtype(),
                 "rotary", "qkv");
  require_tensor(stream, params.inv_freq, {params.rotary_dim / 2}, DType::float32, "rotary", "inv_freq");
  require_tensor(stream, params.positions, {qkv.size(0)}, DType::int32, "rotary", "positions");
  require((params.q_norm == nullptr) == (params.k_norm == nullptr), "rotary",
          "q_norm and k_norm must be given together.");
  for (const Parameter* norm : {params.q_norm, params.k_norm}) {
    if (norm != nullptr) require_tensor(stream, norm->value, {params.head_dim}, qkv.dtype(), "rotary", "the norm");
  }
  return params;
}

kernels::RotaryShape kernel_shape(const RotaryParams& params) {
  return {.positions = params.positions.data<int32_t>(),
          .inv_freq = params.inv_freq.data<float>(),
          .attention_factor = params.attention_factor,
          .tokens = params.positions.numel(),
          .heads = params.heads,
          .kv_heads = params.kv_heads,
          .head_dim = params.head_dim,
          .rotary_dim = params.rotary_dim,
          .eps = params.eps};
}

template <class T>
const T* weight_data(const Parameter* norm) {
  return norm != nullptr ? norm->value.data<T>() : nullptr;
}

float* norm_grad(const Parameter* norm) {
  return norm != nullptr ? grad_data(*norm) : nullptr;
}

void forward(Stream& stream, const Tensor& qkv, const Tensor& out, const RotaryParams& params) {
  dispatch(stream, out.dtype(), "rotary", [&]<class D, class T>(kernels::Context<D> context) {
    kernels::rotary_forward<D, T>(context, {.shape = kernel_shape(params),
                                            .qkv = qkv.data<T>(),
                                            .out = out.data<T>(),
                                            .q_norm = weight_data<T>(params.q_norm),
                                            .k_norm = weight_data<T>(params.k_norm)});
  });
}

// `qkv` is the forward pass's input with norms, else undefined.
Tensor backward(Stream& stream, const Tensor& dout, const Tensor& qkv, const RotaryParams& params) {
  Tensor dqkv = reuse_or_empty(stream, dout);
  dispatch(stream, dout.dtype(), "rotary", [&]<class D, class T>(kernels::Context<D> context) {
    kernels::RotaryBackwardParams<T> p{.shape = kernel_shape(params),
                                       .dout = dout.data<T>(),
                                       .dqkv = dqkv.data<T>(),
                                       .qkv = qkv.defined() ? qkv.data<T>() : nullptr,
                                       .q_norm = weight_data<T>(params.q_norm),
                                       .k_norm = weight_data<T>(params.k_norm),
                                       .dq_norm = norm_grad(params.q_norm),
                                       .dk_norm = norm_grad(params.k_norm)};
    const Tensor scratch = workspace(stream, kernels::rotary_backward_workspace_bytes<D, T>(p));
    p.workspace = scratch.raw();
    kernels::rotary_backward<D, T>(context, p);
  });
  return dqkv;
}

}  // namespace

Variable rotary(const Execution& on, Variable qkv, const RotaryParams& given) {
  const RotaryParams params = check(on.stream, qkv.value, given);
  const bool norms = params.q_norm != nullptr;
  const bool norms_trained = norms && (params.q_norm->trained() || params.k_norm->trained());
  const bool recorded = on.tape != nullptr && (qkv.wants_grad() || norms_trained);
  const bool in_place = qkv.value.is_sole_owner() && !(recorded && norms);
  const Tensor in = std::move(qkv.value);
  Tensor out = in_place ? in : Tensor::empty(on.stream, in.shape(), in.dtype());
  forward(on.stream, in, out, params);
  if (!recorded) return {std::move(out)};
  const Tensor saved = norms ? in : Tensor();
  auto walk = [saved, id = qkv.id, params](Tape& tape, std::span<const Tensor> output_grads) {
    tape.accumulate({Tensor(), id}, backward(tape.stream(), output_grads[0], saved, params));
  };
  Variable rotated = on.tape->record("rotary", {std::move(out)}, std::move(walk))[0];
  if (on.remakes && norms) {  // without norms the input is not kept
    rotated.remake = std::make_shared<const Remake>([saved, params](Stream& stream) {
      Tensor again = Tensor::empty(stream, saved.shape(), saved.dtype());
      forward(stream, saved, again, params);
      return again;
    });
  }
  return rotated;
}

}  // namespace subspect::runtime::ops
