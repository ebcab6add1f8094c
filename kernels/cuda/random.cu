// Random fills on CUDA: one thread per Philox block of four elements, so that any division of the work gives the same
// numbers. Uniform numbers have the bits of the CPU kernel's.
#include "kernels/random.h"

#include <type_traits>

#include "kernels/angle.h"
#include "kernels/cuda/platform.h"
#include "kernels/philox.h"

namespace subspect::kernels {
namespace {

using namespace gpu;

constexpr int threads = 256;

enum class Distribution { normal, uniform };

GPU_DEVICE Floats<4> uniform_numbers(const Philox4& bits) {
  return {philox_uniform(bits.word[0]), philox_uniform(bits.word[1]), philox_uniform(bits.word[2]),
          philox_uniform(bits.word[3])};
}

/// As philox_normal, without the local memory that CUDA's cosine and sine reserve.
GPU_DEVICE Floats<4> normal_numbers(const Philox4& bits) {
  const float radius0 = square_root(-2.0F * natural_log(philox_positive_uniform(bits.word[0])));
  const float radius1 = square_root(-2.0F * natural_log(philox_positive_uniform(bits.word[2])));
  const CosineSine angle0 = cosine_sine(philox_angle(bits.word[1]));
  const CosineSine angle1 = cosine_sine(philox_angle(bits.word[3]));
  return {radius0 * angle0.cosine, radius0 * angle0.sine, radius1 * angle1.cosine, radius1 * angle1.sine};
}

template <class T>
GPU_DEVICE void write(float value, T* to) {
  if constexpr (std::is_same_v<T, double>) {
    *to = static_cast<double>(value);
  } else {
    *to = narrow<T>(value);
  }
}

GPU_DEVICE void write4(const Floats<4>& values, double* to) {
  const Pack<double, 2> low{{values.value[0], values.value[1]}};
  const Pack<double, 2> high{{values.value[2], values.value[3]}};
  reinterpret_cast<Pack<double, 2>*>(to)[0] = low;
  reinterpret_cast<Pack<double, 2>*>(to)[1] = high;
}
template <class T>
GPU_DEVICE void write4(const Floats<4>& values, T* to) {
  store(values, to);
}

/// y[i] = a + scale * element (offset + i). `aligned`: the four elements of a Philox block may be stored at once.
template <Distribution distribution, class T>
GPU_KERNEL(threads)
random_kernel(RandomFillParams<T> p, float scale, bool aligned) {
  const int64_t first_block = p.offset / 4;
  const int64_t blocks = (p.offset + p.count + 3) / 4 - first_block;
  for (int64_t i = global_thread(); i < blocks; i += global_threads()) {
    const Philox4 bits = philox_block(p.seed, p.stream, static_cast<uint64_t>(first_block + i));
    Floats<4> values = distribution == Distribution::normal ? normal_numbers(bits) : uniform_numbers(bits);
    GPU_UNROLL
    for (int j = 0; j < 4; ++j) values.value[j] = p.a + rounded_product(scale, values.value[j]);
    const int64_t at = (first_block + i) * 4 - p.offset;
    if (aligned && at + 4 <= p.count) {
      write4(values, p.y + at);
      continue;
    }
    GPU_UNROLL
    for (int j = 0; j < 4; ++j) {
      if (at + j >= 0 && at + j < p.count) write(values.value[j], p.y + at + j);
    }
  }
}

template <Distribution distribution, class T>
void fill(const char* name, CUstream_st* stream, const RandomFillParams<T>& p, float scale) {
  if (p.count == 0) return;
  const bool aligned = p.offset % 4 == 0 && aligned_rows(0, 1, p.y);
  launch(name, random_kernel<distribution, T>, loop_blocks(ceil_div(p.count, 4) + 1, threads), threads, 0, stream, p,
         scale, aligned);
}

}  // namespace

template <Device D, class T>
void random_normal(Context<D> on, const RandomFillParams<T>& p) {
  fill<Distribution::normal>("random_normal", on.stream, p, p.b);
}

template <Device D, class T>
void random_uniform(Context<D> on, const RandomFillParams<T>& p) {
  fill<Distribution::uniform>("random_uniform", on.stream, p, p.b - p.a);
}

template void random_normal(Context<Cuda>, const RandomFillParams<float>&);
template void random_normal(Context<Cuda>, const RandomFillParams<bfloat16>&);
template void random_normal(Context<Cuda>, const RandomFillParams<double>&);
template void random_uniform(Context<Cuda>, const RandomFillParams<float>&);
template void random_uniform(Context<Cuda>, const RandomFillParams<bfloat16>&);
template void random_uniform(Context<Cuda>, const RandomFillParams<double>&);

}  // namespace subspect::kernels
