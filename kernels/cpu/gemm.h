// Matrix products on OpenBLAS, shared out by tiles of the result.
#pragma once

#include <cstdint>

#include "kernels/thread_team.h"
#include "kernels/types.h"

namespace subspect::kernels::cpu {

/// C [rows, cols] = A B or C += A B. A is [rows, depth], B is [depth, cols]; either may be stored transposed.
/// Everything is contiguous.
template <class T, class C>
struct MatrixProduct {
  const T* a = nullptr;
  const T* b = nullptr;
  C* c = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t depth = 0;
  bool a_transposed = false;  ///< a is [depth, rows]
  bool b_transposed = false;  ///< b is [cols, depth]
  bool accumulate = false;    ///< C += A B; C is float
};

/// Computes the product in float32. The tiles depend on the sizes alone and each is one single-threaded sgemm, so the
/// result does not depend on the number of threads. <T, C>: <float, float>, <bfloat16, bfloat16>, <bfloat16, float>.
template <class T, class C>
void multiply(ThreadTeam& team, const MatrixProduct<T, C>& product);

}  // namespace subspect::kernels::cpu
