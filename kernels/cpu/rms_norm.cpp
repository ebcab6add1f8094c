// RMSNorm on the CPU: one pass over each row to sum squares, one to scale; weight gradients as partial sums over fixed
// blocks of rows.
#include "kernels/rms_norm.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/partition.h"
#include "kernels/cpu/simd_targets.h"
#include "kernels/thread_team.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rms_norm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace subspect::kernels::cpu::HWY_NAMESPACE {
namespace {

/// Adds the residual if there is one; returns the row that is normalised.
template <class T>
const T* add_residual(const RmsNormForwardParams<T>& p, int64_t row) {
  const T* x = p.x + row * p.cols;
  if (p.residual == nullptr) return x;
  const T* residual = p.residual + row * p.cols;
  T* out = p.residual_out + row * p.cols;
  for_each_vector(p.cols, [&](int64_t i, auto part)
                              HWY_ATTR { store(hn::Add(load(residual + i, part), load(x + i, part)), out + i, part); });
  return out;
}

template <class T>
void forward_row(const RmsNormForwardParams<T>& p, int64_t row) {
  const FloatTag df;
  const T* h = add_residual(p, row);
  const float mean = dot(h, h, p.cols) / static_cast<float>(p.cols);
  const float inv_rms = 1.0F / std::sqrt(mean + p.eps);
  if (p.inv_rms != nullptr) p.inv_rms[row] = inv_rms;
  const Float factor = hn::Set(df, inv_rms);
  T* y = p.y + row * p.cols;
  for_each_vector(p.cols, [&](int64_t i, auto part) HWY_ATTR {
    store(hn::Mul(hn::Mul(load(h + i, part), factor), load(p.weight + i, part)), y + i, part);
  });
}

template <class T>
void forward(ThreadTeam& team, const RmsNormForwardParams<T>& p) {
  team.for_each_range(p.rows, row_grain(p.cols), [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t row = begin; row < end; ++row) forward_row(p, row);
  });
}

/// dx of one row, and its share of dweight added to `dweight` unless that is null.
template <class T>
void backward_row(const RmsNormBackwardParams<T>& p, int64_t row, float* dweight) {
  const FloatTag df;
  const T* h = p.h + row * p.cols;
  const T* dy = p.dy + row * p.cols;
  const Float inv_rms = hn::Set(df, p.inv_rms[row]);
  Float sum = hn::Zero(df);
  for_each_vector(p.cols, [&](int64_t i, auto part) HWY_ATTR {
    const Float dy_h = hn::Mul(load(dy + i, part), load(h + i, part));
    sum = hn::MulAdd(dy_h, load(p.weight + i, part), sum);
    if (dweight != nullptr) store(hn::MulAdd(dy_h, inv_rms, load(dweight + i, part)), dweight + i, part);
  });
  const float mean = sum_lanes(sum) * p.inv_rms[row] * p.inv_rms[row] / static_cast<float>(p.cols);
  const Float projection = hn::Set(df, mean);
  const T* dresidual = p.dresidual == nullptr ? nullptr : p.dresidual + row * p.cols;
  T* dx = p.dx + row * p.cols;
  for_each_vector(p.cols, [&](int64_t i, auto part) HWY_ATTR {
    const Float weighted = hn::Mul(load(dy + i, part), load(p.weight + i, part));
    Float gradient = hn::Mul(inv_rms, hn::NegMulAdd(load(h + i, part), projection, weighted));
    if (dresidual != nullptr) gradient = hn::Add(gradient, load(dresidual + i, part));
    store(gradient, dx + i, part);
  });
}

template <class T>
void backward(ThreadTeam& team, const RmsNormBackwardParams<T>& p) {
  float* partials = static_cast<float*>(p.workspace);
  const int64_t block = reduction_block(p.rows);
  team.for_each_range(p.rows, block, [&](int64_t begin, int64_t end) HWY_ATTR {
    float* partial = p.dweight == nullptr ? nullptr : partials + begin / block * p.cols;
    if (partial != nullptr) std::memset(partial, 0, static_cast<size_t>(p.cols) * sizeof(float));
    for (int64_t row = begin; row < end; ++row) backward_row(p, row, partial);
  });
  if (p.dweight != nullptr) add_partials(team, partials, ceil_div(p.rows, block), p.cols, p.dweight, p.cols);
}

SUBSPECT_SIMD_ENTRY(forward, RmsNormForwardParams)
SUBSPECT_SIMD_ENTRY(backward, RmsNormBackwardParams)

}  // namespace
}  // namespace subspect::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace subspect::kernels {

SUBSPECT_SIMD_KERNEL(rms_norm_forward, forward, RmsNormForwardParams)
SUBSPECT_SIMD_KERNEL(rms_norm_backward, backward, RmsNormBackwardParams)

template <>
int64_t rms_norm_backward_workspace_bytes<Cpu, float>(const RmsNormBackwardParams<float>& p) {
  return cpu::reduction_bytes(p.rows, p.cols);
}

template <>
int64_t rms_norm_backward_workspace_bytes<Cpu, bfloat16>(const RmsNormBackwardParams<bfloat16>& p) {
  return cpu::reduction_bytes(p.rows, p.cols);
}

}  // namespace subspect::kernels
#endif
