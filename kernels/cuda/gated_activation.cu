// SwiGLU and GeGLU on CUDA.
#include "kernels/gated_activation.h"

#include "kernels/cuda/platform.h"

namespace subspect::kernels {
namespace {

using namespace gpu;

constexpr int threads = 256;

/// An activation and its derivative at z.
struct Activated {
  float value;
  float derivative;
};

struct Silu {
  GPU_DEVICE static Activated at(float z) {
    // Beyond 80 the sigmoid is 0 or 1 in float32; the bound keeps exp finite.
    const float exponent = z > 80.0F ? -80.0F : z < -80.0F ? 80.0F : -z;
    const float sigmoid = 1.0F / (1.0F + fast_exp(exponent));
    const float value = z * sigmoid;
    return {value, value * (1.0F - sigmoid) + sigmoid};
  }
};

struct GeluTanh {
  GPU_DEVICE static Activated at(float z) {
    constexpr float root = 0.7978845608028654F;  // sqrt(2 / pi)
    constexpr float cubic = 0.044715F;
    const float tangent = hyperbolic_tangent(z * (z * z * (root * cubic) + root));
    const float half_sum = 0.5F * (1.0F + tangent);
    const float inner = z * z * (3.0F * root * cubic) + root;
    return {z * half_sum, 0.5F * z * (1.0F - tangent * tangent) * inner + half_sum};
  }
};

template <int N, class Activation, class T>
GPU_KERNEL(threads)
forward_kernel(GatedActivationForwardParams<T> p, uint32_t tiles) {
  const RowPosition at = row_position(tiles, N);
  if (at.col >= p.cols) return;
  const T* gate = p.gate_up + 2 * at.row * p.cols + at.col;
  Floats<N> y = load<N>(gate);
  const Floats<N> up = load<N>(gate + p.cols);
  GPU_UNROLL
  for (int j = 0; j < N; ++j) y.value[j] = Activation::at(y.value[j]).value * up.value[j];
  store(y, p.y + at.row * p.cols + at.col);
}

template <int N, class Activation, class T>
GPU_KERNEL(threads)
backward_kernel(GatedActivationBackwardParams<T> p, uint32_t tiles) {
  const RowPosition at = row_position(tiles, N);
  if (at.col >= p.cols) return;
  const int64_t offset = 2 * at.row * p.cols + at.col;
  Floats<N> gate = load<N>(p.gate_up + offset);
  Floats<N> up = load<N>(p.gate_up + offset + p.cols);
  const Floats<N> dy = load<N>(p.dy + at.row * p.cols + at.col);
  GPU_UNROLL
  for (int j = 0; j < N; ++j) {
    const Activated activated = Activation::at(gate.value[j]);
    gate.value[j] = dy.value[j] * up.value[j] * activated.derivative;
    up.value[j] = dy.value[j] * activated.value;
  }
  store(gate, p.dgate_up + offset);
  store(up, p.dgate_up + offset + p.cols);
}

template <int N, class T>
void launch_forward(CUstream_st* stream, const GatedActivationForwardParams<T>& p) {
  const uint32_t tiles = row_tiles(p.cols, threads, N);
  auto* kernel = p.activation == GatedActivation::silu ? forward_kernel<N, Silu, T> : forward_kernel<N, GeluTanh, T>;
  launch("gated_activation_forward", kernel, p.rows * tiles, threads, 0, stream, p, tiles);
}

template <int N, class T>
void launch_backward(CUstream_st* stream, const GatedActivationBackwardParams<T>& p) {
  const uint32_t tiles = row_tiles(p.cols, threads, N);
  auto* kernel = p.activation == GatedActivation::silu ? backward_kernel<N, Silu, T> : backward_kernel<N, GeluTanh, T>;
  launch("gated_activation_backward", kernel, p.rows * tiles, threads, 0, stream, p, tiles);
}

}  // namespace

template <Device D, class T>
void gated_activation_forward(Context<D> on, const GatedActivationForwardParams<T>& p) {
  if (p.rows == 0 || p.cols == 0) return;
  if (aligned_rows(p.cols, widest<T>, p.gate_up, p.y)) {
    launch_forward<widest<T>>(on.stream, p);
  } else {
    launch_forward<1>(on.stream, p);
  }
}

template <Device D, class T>
void gated_activation_backward(Context<D> on, const GatedActivationBackwardParams<T>& p) {
  if (p.rows == 0 || p.cols == 0) return;
  if (aligned_rows(p.cols, widest<T>, p.gate_up, p.dy, p.dgate_up)) {
    launch_backward<widest<T>>(on.stream, p);
  } else {
    launch_backward<1>(on.stream, p);
  }
}

template void gated_activation_forward(Context<Cuda>, const GatedActivationForwardParams<float>&);
template void gated_activation_forward(Context<Cuda>, const GatedActivationForwardParams<bfloat16>&);
template void gated_activation_backward(Context<Cuda>, const GatedActivationBackwardParams<float>&);
template void gated_activation_backward(Context<Cuda>, const GatedActivationBackwardParams<bfloat16>&);

}  // namespace subspect::kernels
