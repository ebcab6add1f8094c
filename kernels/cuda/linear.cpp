// The three products of a linear layer on CUDA: cuBLASLt, or for few rows the kernel in matvec.cu.
#include "kernels/linear.h"

#include <cstdint>
#include <type_traits>

#include "kernels/cuda/libraries.h"
#include "kernels/cuda/matvec.h"

namespace subspect::kernels {
namespace {

/// cuBLASLt adds a bias of the result's type only, and wants it aligned.
template <class T, class Y>
bool bias_fits(const LinearForwardParams<T, Y>& p) {
  return p.bias == nullptr || (std::is_same_v<T, Y> && reinterpret_cast<uintptr_t>(p.bias) % 16 == 0);
}

}  // namespace

template <Device D, class T, class Y>
void linear_forward(Context<D> on, const LinearForwardParams<T, Y>& p) {
  if (p.rows == 0 || p.out == 0) return;
  if (p.rows <= gpu::matvec_most_rows || p.in == 0 || !bias_fits(p)) {
    gpu::matvec(on.stream, p);
    return;
  }
  gpu::MatrixProduct<T, Y> product{p.x, p.weight, p.y, p.rows, p.out, p.in};
  product.b_transposed = true;
  if constexpr (std::is_same_v<T, Y>) product.bias = p.bias;
  gpu::libraries_of(on, "linear_forward").multiply(on.stream, product);
}

template <Device D, class T>
void linear_backward_input(Context<D> on, const LinearBackwardInputParams<T>& p) {
  gpu::libraries_of(on, "linear_backward_input")
      .multiply(on.stream, gpu::MatrixProduct<T, T>{p.dy, p.weight, p.dx, p.rows, p.in, p.out});
}

template <Device D, class T>
void linear_backward_weight(Context<D> on, const LinearBackwardWeightParams<T>& p) {
  gpu::MatrixProduct<T, float> product{p.dy, p.x, p.dweight, p.out, p.in, p.rows};
  product.a_transposed = true;
  product.accumulate = true;
  gpu::libraries_of(on, "linear_backward_weight").multiply(on.stream, product);
}

template void linear_forward(Context<Cuda>, const LinearForwardParams<float, float>&);
template void linear_forward(Context<Cuda>, const LinearForwardParams<bfloat16, bfloat16>&);
template void linear_forward(Context<Cuda>, const LinearForwardParams<bfloat16, float>&);
template void linear_backward_input(Context<Cuda>, const LinearBackwardInputParams<float>&);
template void linear_backward_input(Context<Cuda>, const LinearBackwardInputParams<bfloat16>&);
template void linear_backward_weight(Context<Cuda>, const LinearBackwardWeightParams<float>&);
template void linear_backward_weight(Context<Cuda>, const LinearBackwardWeightParams<bfloat16>&);

}  // namespace subspect::kernels
