// The PTX instructions that kernels use: tensor-core products, matrix loads and asynchronous copies (compute capability
// 8.0). Under the tests' shim each is emulated, with NVIDIA's fragment layouts.
#pragma once

#include "kernels/cuda/platform.h"

namespace subspect::kernels::gpu {

#ifdef __CUDACC__

/// Two numbers rounded to bfloat16 (ties to even) in one register, `low` in the lower half.
GPU_DEVICE uint32_t pack_bf16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

GPU_DEVICE uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

/// d += a b: mma.sync m16n8k16, bfloat16 factors, float32 sums. All lanes of the warp.
GPU_DEVICE void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Four 8 x 8 matrices of 2-byte elements from shared memory; lane 8 m + r gives the address of row r of matrix m.
GPU_DEVICE void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

/// The transposes of four matrices.
GPU_DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

/// Starts copying 16 aligned bytes from global to shared memory; where they do not exist, zeros, and nothing is read.
GPU_DEVICE void cp_async16(void* to, const void* from, bool exists = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
               "r"(exists ? 16 : 0)
               : "memory");
}

/// The same for 4 bytes.
GPU_DEVICE void cp_async4(void* to, const void* from, bool exists = true) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(to)), "l"(from), "r"(exists ? 4 : 0)
               : "memory");
}

/// Closes the group of this thread's copies started since the last commit.
GPU_DEVICE void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

/// Waits until at most `Pending` groups of this thread are unfinished. Other threads see the data after a barrier.
template <int Pending>
GPU_DEVICE void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

#else

GPU_DEVICE uint32_t pack_bf16(float low, float high) {
  return static_cast<uint32_t>(narrow<bfloat16>(low).bits) | static_cast<uint32_t>(narrow<bfloat16>(high).bits) << 16;
}
GPU_DEVICE void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], int line = __builtin_LINE(),
                             const char* file = __builtin_FILE()) {
  simt::multiply_add(d, a, b, {file, line});
}
GPU_DEVICE void ldmatrix_x4(uint32_t (&r)[4], const void* row, int line = __builtin_LINE(),
                            const char* file = __builtin_FILE()) {
  simt::load_matrix(r, 4, false, row, {file, line});
}
GPU_DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, int line = __builtin_LINE(),
                                  const char* file = __builtin_FILE()) {
  simt::load_matrix(r, 4, true, row, {file, line});
}
GPU_DEVICE void cp_async16(void* to, const void* from, bool exists = true) {
  simt::copy_async(to, from, 16, exists);
}
GPU_DEVICE void cp_async4(void* to, const void* from, bool exists = true) {
  simt::copy_async(to, from, 4, exists);
}
GPU_DEVICE void cp_async_commit() {
  simt::commit_copies();
}
template <int Pending>
GPU_DEVICE void cp_async_wait() {
  simt::wait_copies(Pending);
}

#endif

}  // namespace subspect::kernels::gpu
