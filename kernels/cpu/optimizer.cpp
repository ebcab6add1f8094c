// Optimizer steps and the gradient norm on the CPU. Plain loops, which the compiler vectorises for each instruction
// set.
#include "kernels/optimizer.h"

#include <cmath>

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/partition.h"
#include "kernels/cpu/simd_targets.h"
#include "kernels/thread_team.h"

#ifndef SUBSPECT_KERNELS_CPU_OPTIMIZER_ONCE
#define SUBSPECT_KERNELS_CPU_OPTIMIZER_ONCE
namespace subspect::kernels::cpu {
namespace {

constexpr int64_t norm_grain = 32768;

/// What one chunk of a squared norm found.
struct NormPartial {
  double sum;
  int64_t nonfinite;
};

}  // namespace
}  // namespace subspect::kernels::cpu
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/optimizer.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace subspect::kernels::cpu::HWY_NAMESPACE {
namespace {

/// The new value goes to the master copy if there is one, and to the parameter.
template <class T, class Part>
HWY_INLINE void update(T* param, float* master, int64_t i, Part part, Float value) {
  if (master != nullptr) store(value, master + i, part);
  store(value, param + i, part);
}

template <class T, class Part>
HWY_INLINE Float current(const T* param, const float* master, int64_t i, Part part) {
  return master != nullptr ? load(master + i, part) : load(param + i, part);
}

template <class T>
void adamw(ThreadTeam& team, const AdamWParams<T>& p) {
  const auto step = static_cast<double>(p.step);
  const double correction1 = 1.0 - std::pow(static_cast<double>(p.beta1), step);
  const double correction2 = 1.0 - std::pow(static_cast<double>(p.beta2), step);
  const auto step_size = static_cast<float>(static_cast<double>(p.lr) / correction1);
  const auto root2 = static_cast<float>(1.0 / std::sqrt(correction2));
  team.for_each_range(p.count, flat_grain, [&](int64_t begin, int64_t end) HWY_ATTR {
    const FloatTag df;
    const Float beta1 = hn::Set(df, p.beta1);
    const Float beta2 = hn::Set(df, p.beta2);
    const Float rest1 = hn::Set(df, 1.0F - p.beta1);
    const Float rest2 = hn::Set(df, 1.0F - p.beta2);
    const Float keep = hn::Set(df, 1.0F - p.lr * p.weight_decay);
    for_each_vector(end - begin, [&](int64_t offset, auto part) HWY_ATTR {
      const int64_t i = begin + offset;
      const Float g = hn::Mul(load(p.grad + i, part), hn::Set(df, p.grad_scale));
      const Float m = hn::MulAdd(beta1, load(p.moment1 + i, part), hn::Mul(rest1, g));
      const Float v = hn::MulAdd(beta2, load(p.moment2 + i, part), hn::Mul(rest2, hn::Mul(g, g)));
      store(m, p.moment1 + i, part);
      store(v, p.moment2 + i, part);
      const Float denominator = hn::MulAdd(hn::Sqrt(v), hn::Set(df, root2), hn::Set(df, p.eps));
      const Float change = hn::Div(hn::Mul(hn::Set(df, step_size), m), denominator);
      const Float value = hn::Sub(hn::Mul(keep, current(p.param, p.master, i, part)), change);
      update(p.param, p.master, i, part, value);
    });
  });
}

template <class T>
void sgd(ThreadTeam& team, const SgdParams<T>& p) {
  team.for_each_range(p.count, flat_grain, [&](int64_t begin, int64_t end) HWY_ATTR {
    const FloatTag df;
    const Float momentum = hn::Set(df, p.momentum);
    const Float lr = hn::Set(df, p.lr);
    const Float keep = hn::Set(df, 1.0F - p.lr * p.weight_decay);
    for_each_vector(end - begin, [&](int64_t offset, auto part) HWY_ATTR {
      const int64_t i = begin + offset;
      Float velocity = hn::Mul(load(p.grad + i, part), hn::Set(df, p.grad_scale));
      if (p.velocity != nullptr) {
        velocity = hn::MulAdd(momentum, load(p.velocity + i, part), velocity);
        store(velocity, p.velocity + i, part);
      }
      const Float value = hn::NegMulAdd(lr, velocity, hn::Mul(keep, current(p.param, p.master, i, part)));
      update(p.param, p.master, i, part, value);
    });
  });
}

/// Eight running sums, so that the loop is a vector loop of a fixed order.
template <class T>
NormPartial norm_range(const T* x, int64_t count) {
  double sums[8] = {};
  int32_t bad[8] = {};
  const auto add = [&](int64_t i, int lane) HWY_ATTR {
    const float value = to_float(x[i]);
    const bool finite = std::abs(value) <= 3.402823466e38F;
    const auto wide = static_cast<double>(finite ? value : 0.0F);
    sums[lane] += wide * wide;
    bad[lane] += finite ? 0 : 1;
  };
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (int lane = 0; lane < 8; ++lane) add(i + lane, lane);
  }
  for (; i < count; ++i) add(i, static_cast<int>(i % 8));
  NormPartial total{0, 0};
  for (int lane = 0; lane < 8; ++lane) {
    total.sum += sums[lane];
    total.nonfinite += bad[lane];
  }
  return total;
}

template <class T>
void norm(ThreadTeam& team, const SquaredNormParams<T>& p) {
  auto* partials = static_cast<NormPartial*>(p.workspace);
  team.for_each_range(p.count, norm_grain, [&](int64_t begin, int64_t end) HWY_ATTR {
    partials[begin / norm_grain] = norm_range(p.x + begin, end - begin);
  });
  double sum = 0;
  for (int64_t i = 0; i < ceil_div(p.count, norm_grain); ++i) {
    sum += partials[i].sum;
    *p.nonfinite += partials[i].nonfinite;
  }
  *p.sum += sum;
}

SUBSPECT_SIMD_ENTRY(adamw, AdamWParams)
SUBSPECT_SIMD_ENTRY(sgd, SgdParams)
SUBSPECT_SIMD_ENTRY(norm, SquaredNormParams)

}  // namespace
}  // namespace subspect::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace subspect::kernels {

SUBSPECT_SIMD_KERNEL(adamw_step, adamw, AdamWParams)
SUBSPECT_SIMD_KERNEL(sgd_step, sgd, SgdParams)
SUBSPECT_SIMD_KERNEL(squared_norm, norm, SquaredNormParams)

template <>
int64_t squared_norm_workspace_bytes<Cpu, float>(const SquaredNormParams<float>& p) {
  return cpu::ceil_div(p.count, cpu::norm_grain) * static_cast<int64_t>(sizeof(cpu::NormPartial));
}

template <>
int64_t squared_norm_workspace_bytes<Cpu, bfloat16>(const SquaredNormParams<bfloat16>& p) {
  return cpu::ceil_div(p.count, cpu::norm_grain) * static_cast<int64_t>(sizeof(cpu::NormPartial));
}

}  // namespace subspect::kernels
#endif
