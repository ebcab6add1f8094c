// Sums and maxima over the threads of a warp and of a block, and running sums, in an order that depends only on the
// number of threads.
#pragma once

#include "kernels/cuda/platform.h"

namespace subspect::kernels::gpu {

/// The sum over the warp, in every lane.
template <class T>
GPU_DEVICE T warp_sum(T value) {
  for (int offset = warp_size / 2; offset > 0; offset /= 2) value += shuffle_xor(full_warp, value, offset);
  return value;
}

/// The maximum over the warp, in every lane; a NaN counts only where it is the lane's own.
template <class T>
GPU_DEVICE T warp_max(T value) {
  for (int offset = warp_size / 2; offset > 0; offset /= 2) {
    const T other = shuffle_xor(full_warp, value, offset);
    value = other > value ? other : value;
  }
  return value;
}

/// The sum over the block, in every thread. Threads: a multiple of 32, at most 1024. All threads of the block call it.
template <class T>
GPU_DEVICE T block_sum(T value) {
  GPU_SHARED(T, partial, warp_size);
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  const int warp = static_cast<int>(threadIdx.x) / warp_size;
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  value = warp_sum(value);
  if (lane == 0) partial[warp] = value;
  barrier();
  T total = warp_sum(lane < warps ? partial[lane] : T(0));
  barrier();  // before the next call writes `partial`
  return total;
}

/// The sum over the threads before this one. Threads and callers as for `block_sum`.
template <class T>
GPU_DEVICE T block_exclusive_sum(T value) {
  GPU_SHARED(T, before, warp_size);
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  const int warp = static_cast<int>(threadIdx.x) / warp_size;
  T sum = value;  // over the lanes up to this one
  for (int offset = 1; offset < warp_size; offset *= 2) {
    const T lower = shuffle(full_warp, sum, lane >= offset ? lane - offset : lane);
    if (lane >= offset) sum += lower;
  }
  if (lane == warp_size - 1) before[warp] = sum;
  barrier();
  T total = sum - value;
  for (int earlier = 0; earlier < warp; ++earlier) total += before[earlier];
  barrier();  // before the next call writes `before`
  return total;
}

/// The maximum over the block, in every thread; as `block_sum`.
template <class T>
GPU_DEVICE T block_max(T value) {
  GPU_SHARED(T, partial_max, warp_size);
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  const int warp = static_cast<int>(threadIdx.x) / warp_size;
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  value = warp_max(value);
  if (lane == 0) partial_max[warp] = value;
  barrier();
  const T maximum = warp_max(partial_max[lane < warps ? lane : 0]);
  barrier();  // before the next call writes `partial_max`
  return maximum;
}

}  // namespace subspect::kernels::gpu
