// Optimizer steps and the gradient norm on CUDA.
#include "kernels/optimizer.h"

#include <cmath>

#include "kernels/cuda/platform.h"
#include "kernels/cuda/reduce.cuh"

namespace subspect::kernels {
namespace {

using namespace gpu;

constexpr int threads = 256;
constexpr int64_t norm_blocks = 528;        ///< at most; part of the result's order of summation
constexpr int64_t norm_block_items = 4096;  ///< at least, per block

/// What does not change over the tensor, computed on the host in double.
struct AdamWFactors {
  float step_size;  ///< lr / (1 - beta1^step)
  float root2;      ///< 1 / sqrt(1 - beta2^step)
  float keep;       ///< 1 - lr weight_decay
};

template <class T>
GPU_DEVICE float current(const T* param, const float* master, int64_t i) {
  return master != nullptr ? master[i] : widen(param[i]);
}

template <class T>
GPU_DEVICE void update(T* param, float* master, int64_t i, float value) {
  if (master != nullptr) master[i] = value;
  param[i] = narrow<T>(value);
}

template <class T>
GPU_KERNEL(threads)
adamw_kernel(AdamWParams<T> p, AdamWFactors factors) {
  for (int64_t i = global_thread(); i < p.count; i += global_threads()) {
    const float g = p.grad[i] * p.grad_scale;
    const float m = p.beta1 * p.moment1[i] + (1.0F - p.beta1) * g;
    const float v = p.beta2 * p.moment2[i] + (1.0F - p.beta2) * (g * g);
    p.moment1[i] = m;
    p.moment2[i] = v;
    const float change = factors.step_size * m / (square_root(v) * factors.root2 + p.eps);
    update(p.param, p.master, i, factors.keep * current(p.param, p.master, i) - change);
  }
}

template <class T>
GPU_KERNEL(threads)
sgd_kernel(SgdParams<T> p) {
  const float keep = 1.0F - p.lr * p.weight_decay;
  for (int64_t i = global_thread(); i < p.count; i += global_threads()) {
    float velocity = p.grad[i] * p.grad_scale;
    if (p.velocity != nullptr) {
      velocity += p.momentum * p.velocity[i];
      p.velocity[i] = velocity;
    }
    update(p.param, p.master, i, keep * current(p.param, p.master, i) - p.lr * velocity);
  }
}

/// What one block found.
struct NormPartial {
  double sum;
  int64_t nonfinite;
};

int64_t norm_grid(int64_t count) {
  const int64_t blocks = ceil_div(count, norm_block_items);
  return blocks < norm_blocks ? blocks : norm_blocks;
}

template <class T>
GPU_KERNEL(threads)
squared_norm_kernel(const T* x, int64_t count, NormPartial* partials) {
  double sum = 0;
  int32_t nonfinite = 0;  // of one thread: count / threads at most, far below 2^31 for tensors that fit a GPU
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    const float value = widen(x[i]);
    const bool finite = value - value == 0.0F;
    sum += finite ? static_cast<double>(value) * static_cast<double>(value) : 0.0;
    nonfinite += finite ? 0 : 1;
  }
  const double block_total = block_sum(sum);
  const int32_t block_nonfinite = block_sum(nonfinite);
  if (threadIdx.x == 0) partials[blockIdx.x] = {block_total, block_nonfinite};
}

/// One block adds the partial results in a fixed order.
template <class Unused = void>
GPU_KERNEL(threads)
squared_norm_sum_kernel(const NormPartial* partials, int64_t count, double* sum, int64_t* bad) {
  double total = 0;
  int64_t nonfinite = 0;
  for (int64_t i = threadIdx.x; i < count; i += threads) {
    total += partials[i].sum;
    nonfinite += partials[i].nonfinite;
  }
  total = block_sum(total);
  nonfinite = block_sum(nonfinite);
  if (threadIdx.x != 0) return;
  *sum += total;
  *bad += nonfinite;
}

}  // namespace

template <Device D, class T>
void adamw_step(Context<D> on, const AdamWParams<T>& p) {
  if (p.count == 0) return;
  const auto step = static_cast<double>(p.step);
  const double correction1 = 1.0 - std::pow(static_cast<double>(p.beta1), step);
  const double correction2 = 1.0 - std::pow(static_cast<double>(p.beta2), step);
  const AdamWFactors factors{static_cast<float>(static_cast<double>(p.lr) / correction1),
                             static_cast<float>(1.0 / std::sqrt(correction2)), 1.0F - p.lr * p.weight_decay};
  launch("adamw_step", adamw_kernel<T>, loop_blocks(p.count, threads), threads, 0, on.stream, p, factors);
}

template <Device D, class T>
void sgd_step(Context<D> on, const SgdParams<T>& p) {
  if (p.count == 0) return;
  launch("sgd_step", sgd_kernel<T>, loop_blocks(p.count, threads), threads, 0, on.stream, p);
}

template <Device D, class T>
int64_t squared_norm_workspace_bytes(const SquaredNormParams<T>& p) {
  return norm_grid(p.count) * static_cast<int64_t>(sizeof(NormPartial));
}

template <Device D, class T>
void squared_norm(Context<D> on, const SquaredNormParams<T>& p) {
  if (p.count == 0) return;
  auto* partials = static_cast<NormPartial*>(p.workspace);
  const int64_t blocks = norm_grid(p.count);
  launch("squared_norm", squared_norm_kernel<T>, blocks, threads, 0, on.stream, p.x, p.count, partials);
  launch("squared_norm_sum", squared_norm_sum_kernel<>, 1, threads, 0, on.stream, partials, blocks, p.sum, p.nonfinite);
}

template void adamw_step(Context<Cuda>, const AdamWParams<float>&);
template void adamw_step(Context<Cuda>, const AdamWParams<bfloat16>&);
template void sgd_step(Context<Cuda>, const SgdParams<float>&);
template void sgd_step(Context<Cuda>, const SgdParams<bfloat16>&);
template int64_t squared_norm_workspace_bytes<Cuda>(const SquaredNormParams<float>&);
template int64_t squared_norm_workspace_bytes<Cuda>(const SquaredNormParams<bfloat16>&);
template void squared_norm(Context<Cuda>, const SquaredNormParams<float>&);
template void squared_norm(Context<Cuda>, const SquaredNormParams<bfloat16>&);

}  // namespace subspect::kernels
