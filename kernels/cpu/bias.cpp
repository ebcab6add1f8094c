// Bias addition and gradient on the CPU.
#include "kernels/bias.h"

#include <cstring>

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/partition.h"
#include "kernels/cpu/simd_targets.h"
#include "kernels/thread_team.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/bias.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace subspect::kernels::cpu::HWY_NAMESPACE {
namespace {

template <class T>
void add_bias(ThreadTeam& team, const BiasAddParams<T>& p) {
  team.for_each_range(p.rows, row_grain(p.cols), [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t row = begin; row < end; ++row) {
      const T* x = p.x + row * p.cols;
      T* y = p.y + row * p.cols;
      for_each_vector(p.cols, [&](int64_t i, auto part)
                                  HWY_ATTR { store(hn::Add(load(x + i, part), load(p.bias + i, part)), y + i, part); });
    }
  });
}

template <class T>
void gradient(ThreadTeam& team, const BiasGradientParams<T>& p) {
  float* partials = static_cast<float*>(p.workspace);
  const int64_t block = reduction_block(p.rows);
  team.for_each_range(p.rows, block, [&](int64_t begin, int64_t end) HWY_ATTR {
    float* partial = partials + begin / block * p.cols;
    std::memset(partial, 0, static_cast<size_t>(p.cols) * sizeof(float));
    for (int64_t row = begin; row < end; ++row) {
      const T* dy = p.dy + row * p.cols;
      for_each_vector(p.cols, [&](int64_t i, auto part) HWY_ATTR {
        store(hn::Add(load(partial + i, part), load(dy + i, part)), partial + i, part);
      });
    }
  });
  add_partials(team, partials, ceil_div(p.rows, block), p.cols, p.dbias, p.cols);
}

SUBSPECT_SIMD_ENTRY(add_bias, BiasAddParams)
SUBSPECT_SIMD_ENTRY(gradient, BiasGradientParams)

}  // namespace
}  // namespace subspect::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace subspect::kernels {

SUBSPECT_SIMD_KERNEL(bias_add, add_bias, BiasAddParams)
SUBSPECT_SIMD_KERNEL(bias_gradient, gradient, BiasGradientParams)

template <>
int64_t bias_gradient_workspace_bytes<Cpu, float>(const BiasGradientParams<float>& p) {
  return cpu::reduction_bytes(p.rows, p.cols);
}

template <>
int64_t bias_gradient_workspace_bytes<Cpu, bfloat16>(const BiasGradientParams<bfloat16>& p) {
  return cpu::reduction_bytes(p.rows, p.cols);
}

}  // namespace subspect::kernels
#endif
