// The one header through which `.cu` files meet a compiler: nvcc, or a host compiler under the tests' SIMT shim, which
// is included before the source and then provides what CUDA does here. docs/kernels.md tells how to write kernels with
// it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/types.h"

#ifdef __CUDACC__

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#define GPU_KERNEL(...) __global__ void __launch_bounds__(__VA_ARGS__)  // threads, blocks that must fit at once
#define GPU_DEVICE __device__ __forceinline__
#define GPU_BOTH __host__ __device__ __forceinline__
#define GPU_UNROLL _Pragma("unroll")
#define GPU_NO_UNROLL _Pragma("unroll 1")
#define GPU_CHECK_ALIGNED(pointer, bytes)
#define GPU_SHARED(type, name, count) __shared__ alignas(16) type name[count]

namespace subspect::kernels::gpu {

GPU_DEVICE void barrier() {
  __syncthreads();
}
GPU_DEVICE void sync_warp(uint32_t mask) {
  __syncwarp(mask);
}
template <class T>
GPU_DEVICE T shuffle(uint32_t mask, T value, int source) {
  return __shfl_sync(mask, value, source);
}
template <class T>
GPU_DEVICE T shuffle_xor(uint32_t mask, T value, int lane_mask) {
  return __shfl_xor_sync(mask, value, lane_mask);
}
GPU_DEVICE uint32_t ballot(uint32_t mask, bool value) {
  return __ballot_sync(mask, value);
}
GPU_DEVICE int count_bits(uint32_t bits) {
  return __popc(bits);
}
/// Index of the lowest bit that is set; `bits` is not 0.
GPU_DEVICE int lowest_bit(uint32_t bits) {
  return __ffs(static_cast<int>(bits)) - 1;
}
GPU_DEVICE int32_t atomic_add(int32_t* address, int32_t value) {
  return atomicAdd(address, value);
}
GPU_DEVICE uint32_t atomic_add(uint32_t* address, uint32_t value) {
  return atomicAdd(address, value);
}
GPU_DEVICE uint32_t atomic_or(uint32_t* address, uint32_t value) {
  return atomicOr(address, value);
}
template <class T>
GPU_DEVICE T* dynamic_smem() {
  extern __shared__ __align__(128) unsigned char dynamic_shared_bytes[];
  return reinterpret_cast<T*>(dynamic_shared_bytes);
}
GPU_DEVICE uint32_t bits_of(float x) {
  return __float_as_uint(x);
}
GPU_DEVICE float float_of(uint32_t bits) {
  return __uint_as_float(bits);
}
GPU_DEVICE float fast_exp(float x) {
  return __expf(x);
}
/// Within 2 units in the last place.
GPU_DEVICE float exponential(float x) {
  return expf(x);
}
/// A product that is rounded, never fused with a sum.
GPU_DEVICE float rounded_product(float a, float b) {
  return __fmul_rn(a, b);
}
/// 2^x to about 2 ulp; results below the smallest normal number become 0.
GPU_DEVICE float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
GPU_DEVICE float square_root(float x) {
  return __fsqrt_rn(x);
}
GPU_DEVICE double square_root(double x) {
  return __dsqrt_rn(x);
}
GPU_DEVICE float hyperbolic_tangent(float x) {
  return tanhf(x);
}
GPU_DEVICE float natural_log(float x) {
  return logf(x);
}
/// x y + z with one rounding, whatever a compiler contracts elsewhere.
GPU_DEVICE float fused_multiply_add(float x, float y, float z) {
  return __fmaf_rn(x, y, z);
}

inline void check(cudaError_t status, const char* kernel, int64_t blocks, int threads, size_t dynamic_bytes) {
  if (status == cudaSuccess) return;
  throw std::runtime_error(std::string(cudaGetErrorString(status)) + " (kernel " + kernel + ", " +
                           std::to_string(blocks) + " blocks of " + std::to_string(threads) + " threads, " +
                           std::to_string(dynamic_bytes) + " bytes of dynamic shared memory)");
}

/// Queues `kernel(args...)` on the stream; throws std::runtime_error naming the kernel when it cannot be launched.
template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), int64_t blocks, int threads, size_t dynamic_bytes,
            CUstream_st* stream, const A&... args) {
  if (dynamic_bytes > 48 << 10) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(dynamic_bytes)),
          name, blocks, threads, dynamic_bytes);
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = dynamic_bytes;
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...), name, blocks, threads, dynamic_bytes);
}

}  // namespace subspect::kernels::gpu

#elif !defined(GPU_KERNEL)
#error "compile .cu files with nvcc, or with the tests' shim (tests/simt/device.h) included first"
#endif

namespace subspect::kernels::gpu {

inline constexpr int warp_size = 32;
inline constexpr uint32_t full_warp = 0xffffffffU;

GPU_BOTH int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/// Index of this thread in the grid, and the number of threads in it.
GPU_DEVICE int64_t global_thread() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
GPU_DEVICE int64_t global_threads() {
  return static_cast<int64_t>(gridDim.x) * blockDim.x;
}

// Conversions as in kernels/types.h, bit for bit; those are for the host only.

GPU_DEVICE float widen(float x) {
  return x;
}
GPU_DEVICE float widen(bfloat16 x) {
  return float_of(static_cast<uint32_t>(x.bits) << 16);
}
GPU_DEVICE float widen(float16 x) {
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000U) << 16;
  const uint32_t magnitude = x.bits & 0x7fffU;
  if (magnitude >= 0x7c00U) return float_of(sign | 0x7f800000U | ((magnitude & 0x3ffU) << 13));
  return float_of(sign | bits_of(float_of(magnitude << 13) * 0x1p112F));
}

template <class T>
struct Narrow;

template <>
struct Narrow<float> {
  GPU_DEVICE static float from(float x) { return x; }
};

template <>
struct Narrow<bfloat16> {
  GPU_DEVICE static bfloat16 from(float x) {
    const uint32_t bits = bits_of(x);
    if ((bits & 0x7fffffffU) > 0x7f800000U) return {static_cast<uint16_t>((bits >> 16) | 0x40U)};
    return {static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16)};
  }
};

template <>
struct Narrow<float16> {
  GPU_DEVICE static float16 from(float x) {
    const uint32_t bits = bits_of(x);
    const uint32_t sign = (bits >> 16) & 0x8000U;
    const uint32_t magnitude = bits & 0x7fffffffU;
    if (magnitude > 0x7f800000U) return {static_cast<uint16_t>(sign | 0x7e00U)};
    if (magnitude >= 0x477ff000U) return {static_cast<uint16_t>(sign | 0x7c00U)};
    if (magnitude < 0x38800000U) {
      return {static_cast<uint16_t>(sign | (bits_of(float_of(magnitude) + 0.5F) - 0x3f000000U))};
    }
    return {static_cast<uint16_t>(sign | ((magnitude - 0x38000000U + 0xfffU + ((magnitude >> 13) & 1U)) >> 13))};
  }
};

/// The nearest value of T, ties to even; NaN stays NaN.
template <class T>
GPU_DEVICE T narrow(float x) {
  return Narrow<T>::from(x);
}

/// Up to 16 bytes that move as one access.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T value[N];
};

/// N consecutive numbers as float32.
template <int N>
struct Floats {
  float value[N];
};

/// Elements of T that one thread moves at once where alignment allows it.
template <class T>
inline constexpr int widest = static_cast<int>(16 / sizeof(T));

/// Of N elements, as many as move in one access; N is a multiple of it.
template <class T, int N>
inline constexpr int pack_width = N < widest<T> ? N : widest<T>;

template <int N, class T>
GPU_DEVICE Floats<N> load(const T* from) {
  constexpr int width = pack_width<T, N>;
  GPU_CHECK_ALIGNED(from, sizeof(Pack<T, width>));
  Floats<N> floats;
  GPU_UNROLL
  for (int first = 0; first < N; first += width) {
    const Pack<T, width> pack = *reinterpret_cast<const Pack<T, width>*>(from + first);
    GPU_UNROLL
    for (int i = 0; i < width; ++i) floats.value[first + i] = widen(pack.value[i]);
  }
  return floats;
}

template <int N, class T>
GPU_DEVICE void store(const Floats<N>& floats, T* to) {
  constexpr int width = pack_width<T, N>;
  GPU_CHECK_ALIGNED(to, sizeof(Pack<T, width>));
  GPU_UNROLL
  for (int first = 0; first < N; first += width) {
    Pack<T, width> pack;
    GPU_UNROLL
    for (int i = 0; i < width; ++i) pack.value[i] = narrow<T>(floats.value[first + i]);
    *reinterpret_cast<Pack<T, width>*>(to + first) = pack;
  }
}

/// Whether a row of `count` elements that begins at each pointer divides into accesses of 16 bytes.
template <class... Pointers>
inline bool aligned_rows(int64_t count, int64_t width, const Pointers*... pointers) {
  return count % width == 0 && ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

/// Where a thread works when the blocks are pairs (row, tile of the row): no 64-bit division on the device.
struct RowPosition {
  int64_t row;
  int64_t col;  ///< may lie beyond the row's end
};

/// Tiles of `threads * width` elements in a row. The grid has rows * row_tiles(...) blocks.
inline uint32_t row_tiles(int64_t cols, int threads, int width) {
  return static_cast<uint32_t>(ceil_div(cols, static_cast<int64_t>(threads) * width));
}
GPU_DEVICE RowPosition row_position(uint32_t tiles, int width) {
  const uint32_t tile = blockIdx.x % tiles;
  return {blockIdx.x / tiles, (static_cast<int64_t>(tile) * blockDim.x + threadIdx.x) * width};
}

/// Blocks for a grid-stride loop over `count` items: enough to fill any GPU. None for none, which cannot be launched.
inline int64_t loop_blocks(int64_t count, int threads) {
  const int64_t blocks = ceil_div(count, threads);
  return blocks > 4096 ? 4096 : blocks;
}

}  // namespace subspect::kernels::gpu
