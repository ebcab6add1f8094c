// What kernels/cuda/platform.h needs when a `.cu` file is compiled by a host compiler for the tests: the build includes
// this file before the first line of the source. Every CUDA thread of a block is a fiber (tests/simt/scheduler.cpp).
// Kernels and the shim's runtime share no inline function: the kernels are instrumented, the runtime must not be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

struct CUstream_st;

namespace simt {

struct Index3 {
  unsigned x = 0, y = 0, z = 0;
};

struct LaunchShape {
  int64_t blocks = 1;
  int threads = 1;
  size_t dynamic_bytes = 0;
  const void* function = nullptr;  ///< the kernel's code
};

/// Where in the source a thread waits.
struct Place {
  const char* file = "";
  int line = 0;
};

/// Runs `body(arguments)` once for every thread of the grid; throws simt::Failure (tests/simt/simt.h).
void run(const char* name, const LaunchShape& shape, void (*body)(void*), void* arguments, size_t argument_bytes = 0);

/// A launch with copies of its arguments, for `run` at any later time.
struct Launch {
  const char* name = "";
  LaunchShape shape;
  CUstream_st* stream = nullptr;
  void (*body)(void*) = nullptr;
  void* arguments = nullptr;
  size_t argument_bytes = 0;
  void (*destroy)(void*) = nullptr;  ///< of the arguments
};

/// Takes the launches, and the arguments with them, where streams are emulated (tests/simt/cuda). Null: they run at
/// once, whatever their stream.
extern void (*queue_launch)(const Launch& launch);

void* static_shared(const void* key, size_t bytes, size_t alignment, const char* name);
void* dynamic_shared();

void barrier(Place place);
void sync_warp(uint32_t mask, Place place);
/// The value that lane `source` of the warp gave to the same shuffle.
uint64_t shuffle(uint32_t mask, uint64_t value, int source, Place place);
uint32_t ballot(uint32_t mask, bool value, Place place);
int lane();

/// Reports an access to device or shared memory whose address does not divide by its size.
void check_aligned(const void* address, size_t bytes);

int32_t atomic_add(int32_t* address, int32_t value);
uint32_t atomic_or(uint32_t* address, uint32_t value);

/// Copies, or writes zeros where the source does not exist: those arrive like any other copy.
void copy_async(void* to, const void* from, size_t bytes, bool exists);
void commit_copies();
void wait_copies(int pending);

void load_matrix(uint32_t* registers, int count, bool transposed, const void* row, Place place);
void multiply_add(float* d, const uint32_t* a, const uint32_t* b, Place place);

/// Counts an exponential or the like (tests/simt/counters.h).
void count_function();

}  // namespace simt

extern simt::Index3 threadIdx, blockIdx, blockDim, gridDim;  // NOLINT(readability-identifier-naming): CUDA's names

#define SUBSPECT_SIMT_PLACE \
  simt::Place {             \
    file, line              \
  }

#ifdef SUBSPECT_SIMT_COUNT
#define SUBSPECT_SIMT_COUNT_FUNCTION() simt::count_function()
#else
#define SUBSPECT_SIMT_COUNT_FUNCTION()
#endif

#define GPU_KERNEL(...) void
#define GPU_DEVICE [[gnu::always_inline]] inline
#define GPU_BOTH [[gnu::always_inline]] inline
#define GPU_UNROLL
#define GPU_NO_UNROLL
#define GPU_CHECK_ALIGNED(pointer, bytes) simt::check_aligned(pointer, bytes)
#define GPU_SHARED(type, name, count)                                    \
  type(&name)[count] = *static_cast<type(*)[count]>(simt::static_shared( \
      [] {                                                               \
        static const char key = 0;                                       \
        return static_cast<const void*>(&key);                           \
      }(),                                                               \
      sizeof(type[count]), alignof(type) > 16 ? alignof(type) : 16, #name))

namespace subspect::kernels::gpu {

GPU_DEVICE void barrier(int line = __builtin_LINE(), const char* file = __builtin_FILE()) {
  simt::barrier(SUBSPECT_SIMT_PLACE);
}

GPU_DEVICE void sync_warp(uint32_t mask, int line = __builtin_LINE(), const char* file = __builtin_FILE()) {
  simt::sync_warp(mask, SUBSPECT_SIMT_PLACE);
}

template <class T>
GPU_DEVICE T shuffle(uint32_t mask, T value, int source, int line = __builtin_LINE(),
                     const char* file = __builtin_FILE()) {
  uint64_t bits = 0;
  static_assert(sizeof(T) <= sizeof(bits));
  __builtin_memcpy(&bits, &value, sizeof(T));
  bits = simt::shuffle(mask, bits, source, SUBSPECT_SIMT_PLACE);
  __builtin_memcpy(&value, &bits, sizeof(T));
  return value;
}

template <class T>
GPU_DEVICE T shuffle_xor(uint32_t mask, T value, int lane_mask, int line = __builtin_LINE(),
                         const char* file = __builtin_FILE()) {
  return shuffle(mask, value, simt::lane() ^ lane_mask, line, file);
}

GPU_DEVICE uint32_t ballot(uint32_t mask, bool value, int line = __builtin_LINE(),
                           const char* file = __builtin_FILE()) {
  return simt::ballot(mask, value, SUBSPECT_SIMT_PLACE);
}

GPU_DEVICE int count_bits(uint32_t bits) {
  return __builtin_popcount(bits);
}
GPU_DEVICE int lowest_bit(uint32_t bits) {
  return __builtin_ctz(bits);
}
GPU_DEVICE int32_t atomic_add(int32_t* address, int32_t value) {
  return simt::atomic_add(address, value);
}

GPU_DEVICE uint32_t atomic_add(uint32_t* address, uint32_t value) {
  return static_cast<uint32_t>(simt::atomic_add(reinterpret_cast<int32_t*>(address), static_cast<int32_t>(value)));
}

GPU_DEVICE uint32_t atomic_or(uint32_t* address, uint32_t value) {
  return simt::atomic_or(address, value);
}

template <class T>
GPU_DEVICE T* dynamic_smem() {
  return static_cast<T*>(simt::dynamic_shared());
}

GPU_DEVICE uint32_t bits_of(float x) {
  return __builtin_bit_cast(uint32_t, x);
}
GPU_DEVICE float float_of(uint32_t bits) {
  return __builtin_bit_cast(float, bits);
}
GPU_DEVICE float fast_exp(float x) {
  SUBSPECT_SIMT_COUNT_FUNCTION();
  return __builtin_expf(x);
}
GPU_DEVICE float exponential(float x) {
  SUBSPECT_SIMT_COUNT_FUNCTION();
  return __builtin_expf(x);
}
GPU_DEVICE float rounded_product(float a, float b) {
  return a * b;
}
GPU_DEVICE float fast_exp2(float x) {
  SUBSPECT_SIMT_COUNT_FUNCTION();
  return __builtin_exp2f(x);
}
GPU_DEVICE float square_root(float x) {
  SUBSPECT_SIMT_COUNT_FUNCTION();
  return __builtin_sqrtf(x);
}
GPU_DEVICE double square_root(double x) {
  return __builtin_sqrt(x);
}
GPU_DEVICE float hyperbolic_tangent(float x) {
  SUBSPECT_SIMT_COUNT_FUNCTION();
  return __builtin_tanhf(x);
}
GPU_DEVICE float natural_log(float x) {
  SUBSPECT_SIMT_COUNT_FUNCTION();
  return __builtin_logf(x);
}
GPU_DEVICE float fused_multiply_add(float x, float y, float z) {
  return __builtin_fmaf(x, y, z);
}

/// Runs the kernel to its end, or queues it on its stream where streams are emulated.
template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), int64_t blocks, int threads, size_t dynamic_bytes,
            CUstream_st* stream, const A&... args) {
  auto body = [kernel, ... copies = static_cast<P>(args)] { kernel(copies...); };
  using Body = decltype(body);
  constexpr auto call = [](void* state) { (*static_cast<Body*>(state))(); };
  const simt::LaunchShape shape{blocks, threads, dynamic_bytes, reinterpret_cast<const void*>(kernel)};
  if (simt::queue_launch == nullptr) {
    simt::run(name, shape, call, &body, sizeof(Body));
    return;
  }
  simt::queue_launch(
      {name, shape, stream, call, new Body(body), sizeof(Body), [](void* state) { delete static_cast<Body*>(state); }});
}

}  // namespace subspect::kernels::gpu
