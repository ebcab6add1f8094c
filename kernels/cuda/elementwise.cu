// Elementwise kernels on CUDA. Memory-bound: each thread moves 16 bytes at a time where alignment allows it.
#include "kernels/elementwise.h"

#include "kernels/cuda/platform.h"

namespace subspect::kernels {
namespace {

using namespace gpu;

constexpr int threads = 256;

template <int N, class T>
GPU_KERNEL(threads)
add_kernel(const T* a, const T* b, T* y, int64_t count) {
  for (int64_t i = global_thread() * N; i < count; i += global_threads() * N) {
    Floats<N> sum = load<N>(a + i);
    const Floats<N> other = load<N>(b + i);
    GPU_UNROLL
    for (int j = 0; j < N; ++j) sum.value[j] += other.value[j];
    store(sum, y + i);
  }
}

template <int N, class T>
GPU_KERNEL(threads)
scale_kernel(const T* x, float factor, T* y, int64_t count) {
  for (int64_t i = global_thread() * N; i < count; i += global_threads() * N) {
    Floats<N> scaled = load<N>(x + i);
    GPU_UNROLL
    for (int j = 0; j < N; ++j) scaled.value[j] *= factor;
    store(scaled, y + i);
  }
}

/// The nearest 2-byte value to a double in one rounding, through a float rounded to odd (kernels/types.h).
template <class T>
GPU_DEVICE T narrow_double(double x) {
  const float nearest = static_cast<float>(x);
  if (static_cast<double>(nearest) == x || nearest != nearest || nearest - nearest != 0.0F) return narrow<T>(nearest);
  uint32_t bits = bits_of(nearest);
  const double rounded = static_cast<double>(nearest);
  if ((rounded < 0 ? -rounded : rounded) > (x < 0 ? -x : x)) --bits;
  return narrow<T>(float_of(bits | 1U));
}

template <class From, class To>
struct Convert {
  GPU_DEVICE static To from(From x) { return narrow<To>(widen(x)); }
};
template <class T>
struct Convert<T, T> {
  GPU_DEVICE static T from(T x) { return x; }
};
template <class From>
struct Convert<From, double> {
  GPU_DEVICE static double from(From x) { return static_cast<double>(widen(x)); }
};
template <class To>
struct Convert<double, To> {
  GPU_DEVICE static To from(double x) { return narrow_double<To>(x); }
};
template <>
struct Convert<double, float> {
  GPU_DEVICE static float from(double x) { return static_cast<float>(x); }
};
template <>
struct Convert<double, double> {
  GPU_DEVICE static double from(double x) { return x; }
};

template <class From, class To>
GPU_KERNEL(threads)
cast_kernel(const From* x, To* y, int64_t count) {
  for (int64_t i = global_thread(); i < count; i += global_threads()) y[i] = Convert<From, To>::from(x[i]);
}

/// float32 and bfloat16 only: as `cast_kernel`, N elements at once.
template <int N, class From, class To>
GPU_KERNEL(threads)
cast_packs_kernel(const From* x, To* y, int64_t count) {
  for (int64_t i = global_thread() * N; i < count; i += global_threads() * N) store(load<N>(x + i), y + i);
}

template <class T>
GPU_KERNEL(threads)
fill_kernel(T* y, T value, int64_t count) {
  for (int64_t i = global_thread(); i < count; i += global_threads()) y[i] = value;
}

template <class T>
T host_value(double value) {
  if constexpr (sizeof(T) == 2) {
    return from_double<T>(value);
  } else {
    return static_cast<T>(value);
  }
}

}  // namespace

template <Device D, class T>
void add(Context<D> on, const T* a, const T* b, T* y, int64_t count) {
  if (count == 0) return;
  constexpr int N = widest<T>;
  if (aligned_rows(count, N, a, b, y)) {
    launch("add", add_kernel<N, T>, loop_blocks(count / N, threads), threads, 0, on.stream, a, b, y, count);
  } else {
    launch("add", add_kernel<1, T>, loop_blocks(count, threads), threads, 0, on.stream, a, b, y, count);
  }
}

template <Device D, class T>
void scale(Context<D> on, const T* x, float factor, T* y, int64_t count) {
  if (count == 0) return;
  constexpr int N = widest<T>;
  if (aligned_rows(count, N, x, y)) {
    launch("scale", scale_kernel<N, T>, loop_blocks(count / N, threads), threads, 0, on.stream, x, factor, y, count);
  } else {
    launch("scale", scale_kernel<1, T>, loop_blocks(count, threads), threads, 0, on.stream, x, factor, y, count);
  }
}

template <Device D, class From, class To>
void cast(Context<D> on, const From* x, To* y, int64_t count) {
  if (count == 0) return;
  constexpr bool packs = sizeof(From) + sizeof(To) == 6;  // float32 and a 2-byte type
  if constexpr (packs) {
    if (aligned_rows(count, 4, x, y)) {
      launch("cast", cast_packs_kernel<4, From, To>, loop_blocks(count / 4, threads), threads, 0, on.stream, x, y,
             count);
      return;
    }
  }
  launch("cast", cast_kernel<From, To>, loop_blocks(count, threads), threads, 0, on.stream, x, y, count);
}

template <Device D, class T>
void fill(Context<D> on, T* y, double value, int64_t count) {
  if (count == 0) return;
  launch("fill", fill_kernel<T>, loop_blocks(count, threads), threads, 0, on.stream, y, host_value<T>(value), count);
}

template void add(Context<Cuda>, const float*, const float*, float*, int64_t);
template void add(Context<Cuda>, const bfloat16*, const bfloat16*, bfloat16*, int64_t);
template void scale(Context<Cuda>, const float*, float, float*, int64_t);
template void scale(Context<Cuda>, const bfloat16*, float, bfloat16*, int64_t);

#define SUBSPECT_CAST_FROM(From)                                      \
  template void cast(Context<Cuda>, const From*, float*, int64_t);    \
  template void cast(Context<Cuda>, const From*, bfloat16*, int64_t); \
  template void cast(Context<Cuda>, const From*, float16*, int64_t);  \
  template void cast(Context<Cuda>, const From*, double*, int64_t);
SUBSPECT_CAST_FROM(float)
SUBSPECT_CAST_FROM(bfloat16)
SUBSPECT_CAST_FROM(float16)
SUBSPECT_CAST_FROM(double)
#undef SUBSPECT_CAST_FROM

template void fill(Context<Cuda>, float*, double, int64_t);
template void fill(Context<Cuda>, bfloat16*, double, int64_t);
template void fill(Context<Cuda>, float16*, double, int64_t);
template void fill(Context<Cuda>, double*, double, int64_t);
template void fill(Context<Cuda>, int32_t*, double, int64_t);
template void fill(Context<Cuda>, int64_t*, double, int64_t);

}  // namespace subspect::kernels
