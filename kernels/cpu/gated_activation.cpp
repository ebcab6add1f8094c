// SwiGLU and GeGLU on the CPU.
#include "kernels/gated_activation.h"

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/partition.h"
#include "kernels/cpu/simd_targets.h"
#include "kernels/thread_team.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/gated_activation.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace subspect::kernels::cpu::HWY_NAMESPACE {
namespace {

/// An activation and its derivative at z.
struct Activated {
  Float value;
  Float derivative;
};

struct Silu {
  HWY_INLINE Activated operator()(Float z) const {
    const FloatTag df;
    const Float one = hn::Set(df, 1.0F);
    // exp is bounded so that its square stays finite; beyond 80 the sigmoid is 0 or 1 in float32 anyway.
    const Float exponent = hn::Min(hn::Max(hn::Neg(z), hn::Set(df, -80.0F)), hn::Set(df, 80.0F));
    const Float sigmoid = hn::Div(one, hn::Add(one, hn::Exp(df, exponent)));
    const Float value = hn::Mul(z, sigmoid);
    return {value, hn::MulAdd(value, hn::Sub(one, sigmoid), sigmoid)};
  }
};

struct GeluTanh {
  HWY_INLINE Activated operator()(Float z) const {
    const FloatTag df;
    constexpr float root = 0.7978845608028654F;  // sqrt(2 / pi)
    constexpr float cubic = 0.044715F;
    const Float one = hn::Set(df, 1.0F);
    const Float square = hn::Mul(z, z);
    const Float slope = hn::MulAdd(square, hn::Set(df, root * cubic), hn::Set(df, root));
    const Float tanh = hn::Tanh(df, hn::Mul(z, slope));
    const Float half_sum = hn::Mul(hn::Set(df, 0.5F), hn::Add(one, tanh));
    const Float inner = hn::MulAdd(square, hn::Set(df, 3.0F * root * cubic), hn::Set(df, root));
    const Float rest = hn::Mul(hn::Mul(hn::Set(df, 0.5F), z), hn::NegMulAdd(tanh, tanh, one));
    return {hn::Mul(z, half_sum), hn::MulAdd(rest, inner, half_sum)};
  }
};

template <class Function, class T>
void forward_rows(ThreadTeam& team, const GatedActivationForwardParams<T>& p, const Function& activation) {
  team.for_each_range(p.rows, row_grain(4 * p.cols), [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t row = begin; row < end; ++row) {
      const T* gate = p.gate_up + row * 2 * p.cols;
      T* y = p.y + row * p.cols;
      for_each_vector(p.cols, [&](int64_t i, auto part) HWY_ATTR {
        store(hn::Mul(activation(load(gate + i, part)).value, load(gate + p.cols + i, part)), y + i, part);
      });
    }
  });
}

template <class Function, class T>
void backward_rows(ThreadTeam& team, const GatedActivationBackwardParams<T>& p, const Function& activation) {
  team.for_each_range(p.rows, row_grain(4 * p.cols), [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t row = begin; row < end; ++row) {
      const T* gate = p.gate_up + row * 2 * p.cols;
      const T* dy = p.dy + row * p.cols;
      T* dgate = p.dgate_up + row * 2 * p.cols;
      for_each_vector(p.cols, [&](int64_t i, auto part) HWY_ATTR {
        const Activated at = activation(load(gate + i, part));
        const Float up = load(gate + p.cols + i, part);
        const Float gradient = load(dy + i, part);
        store(hn::Mul(hn::Mul(gradient, up), at.derivative), dgate + i, part);
        store(hn::Mul(gradient, at.value), dgate + p.cols + i, part);
      });
    }
  });
}

template <class T>
void forward(ThreadTeam& team, const GatedActivationForwardParams<T>& p) {
  if (p.activation == GatedActivation::silu) {
    forward_rows(team, p, Silu());
  } else {
    forward_rows(team, p, GeluTanh());
  }
}

template <class T>
void backward(ThreadTeam& team, const GatedActivationBackwardParams<T>& p) {
  if (p.activation == GatedActivation::silu) {
    backward_rows(team, p, Silu());
  } else {
    backward_rows(team, p, GeluTanh());
  }
}

SUBSPECT_SIMD_ENTRY(forward, GatedActivationForwardParams)
SUBSPECT_SIMD_ENTRY(backward, GatedActivationBackwardParams)

}  // namespace
}  // namespace subspect::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace subspect::kernels {

SUBSPECT_SIMD_KERNEL(gated_activation_forward, forward, GatedActivationForwardParams)
SUBSPECT_SIMD_KERNEL(gated_activation_backward, backward, GatedActivationBackwardParams)

}  // namespace subspect::kernels
#endif
