// The two products of a linear layer's backward pass on the CPU, on OpenBLAS.
#include "kernels/linear.h"

#include "kernels/cpu/gemm.h"

namespace subspect::kernels {

template <Device D, class T>
void linear_backward_input(Context<D> on, const LinearBackwardInputParams<T>& p) {
  cpu::multiply(*on.team, cpu::MatrixProduct<T, T>{p.dy, p.weight, p.dx, p.rows, p.in, p.out});
}

template <Device D, class T>
void linear_backward_weight(Context<D> on, const LinearBackwardWeightParams<T>& p) {
  cpu::MatrixProduct<T, float> product{p.dy, p.x, p.dweight, p.out, p.in, p.rows};
  product.a_transposed = true;
  product.accumulate = true;
  cpu::multiply(*on.team, product);
}

template void linear_backward_input(Context<Cpu>, const LinearBackwardInputParams<float>&);
template void linear_backward_input(Context<Cpu>, const LinearBackwardInputParams<bfloat16>&);
template void linear_backward_weight(Context<Cpu>, const LinearBackwardWeightParams<float>&);
template void linear_backward_weight(Context<Cpu>, const LinearBackwardWeightParams<bfloat16>&);

}  // namespace subspect::kernels
