// Rows of float32 in shared memory that lanes move eight numbers at a time, in two accesses of 16 bytes. Side by side,
// the accesses of neighbouring lanes would lie 32 bytes apart and meet in the banks; so the first halves of all eights
// lie together, then all second halves. Fewer numbers at a time lie as they are.
#pragma once

#include "kernels/cuda/platform.h"

namespace subspect::kernels::gpu {

/// Where number i of a row of `count` lies, for lanes that move N at a time; 8 divides `count` where N is 8.
template <int N>
GPU_DEVICE int spread(int i, int count) {
  static_assert(N <= 8, "at most two accesses");
  if constexpr (N < 8) return i;
  return i / 8 * 4 + i % 4 + (i % 8 < 4 ? 0 : count / 2);
}

/// Numbers i to i + N - 1 of a spread row; N divides i.
template <int N>
GPU_DEVICE Floats<N> load_spread(const float* row, int i, int count) {
  constexpr int width = pack_width<float, N>;
  Floats<N> floats;
  GPU_UNROLL
  for (int first = 0; first < N; first += width) {
    const Floats<width> part = load<width>(row + spread<N>(i + first, count));
    GPU_UNROLL
    for (int j = 0; j < width; ++j) floats.value[first + j] = part.value[j];
  }
  return floats;
}

template <int N>
GPU_DEVICE void store_spread(const Floats<N>& floats, float* row, int i, int count) {
  constexpr int width = pack_width<float, N>;
  GPU_UNROLL
  for (int first = 0; first < N; first += width) {
    Floats<width> part;
    GPU_UNROLL
    for (int j = 0; j < width; ++j) part.value[j] = floats.value[first + j];
    store(part, row + spread<N>(i + first, count));
  }
}

}  // namespace subspect::kernels::gpu
