// Kernels with one planted fault each, and their correct versions.
#include "tests/simt/fault_kernels.h"

#include "kernels/cuda/platform.h"
#include "kernels/cuda/ptx.cuh"

namespace subspect::kernels::faults {
namespace {

using namespace gpu;

GPU_KERNEL(128) reduction_kernel(const float* x, float* y, Fault fault) {
  GPU_SHARED(float, values, 128);
  const auto self = static_cast<int>(threadIdx.x);
  float total = 0;
  for (int round = 0; round < 2; ++round) {
    if (fault != Fault::uninitialised_shared || self != 77) values[self] = x[self] + static_cast<float>(round);
    if (fault == Fault::two_barriers) {
      if (self < 64) {
        barrier();
      } else {
        barrier();
      }
    } else if (fault != Fault::dropped_barrier) {
      barrier();
    }
    const int last = fault == Fault::shared_out_of_bounds ? 129 : 128;
    const float* first = values;
    for (int i = 0; i < last; ++i) total += first[i];
    if (fault != Fault::dropped_second_barrier) barrier();
  }
  y[fault == Fault::device_out_of_bounds ? self + 1 : self] = total;
  if (fault == Fault::divergent_barrier && self < 64) barrier();
}

GPU_KERNEL(32) packs_kernel(const float* x, float* y, Fault fault) {
  const auto self = static_cast<int>(threadIdx.x);
  const int skip = fault == Fault::misaligned_pack && self == 5 ? 2 : 0;
  Floats<4> pack = load<4>(x + 4 * self + skip);
  if (self == 7) pack.value[blockDim.x / 8 - (fault == Fault::array_out_of_bounds ? 0 : 1)] += 0.0F;
  const int bits = fault == Fault::wide_shift ? 32 : 0;
  pack.value[0] *= static_cast<float>(1U << (self == 9 ? bits : 0));
  store(pack, y + 4 * self);
}

GPU_KERNEL(64) exchange_kernel(const float* x, float* y, Fault fault) {
  GPU_SHARED(float, values, 64);
  const auto self = static_cast<int>(threadIdx.x);
  values[self] = x[self];
  if (fault != Fault::missing_sync_warp) sync_warp(full_warp);
  y[self] = values[self ^ 1];
}

GPU_KERNEL(128) pipeline_kernel(const float* x, float* y, Fault fault) {
  auto* buffers = dynamic_smem<float>();
  const auto self = static_cast<int>(threadIdx.x);
  const auto start = [&](int tile) {
    if (self < 32) cp_async16(buffers + tile % 2 * 128 + 4 * self, x + tile * 128 + 4 * self);
    cp_async_commit();
  };
  start(0);
  float total = 0;
  for (int tile = 0; tile < 4; ++tile) {
    if (tile < 3) start(tile + 1);
    if (fault == Fault::early_copy_read) {
    } else if (tile < 3) {
      cp_async_wait<1>();
    } else if (fault != Fault::forgotten_copy_wait) {
      cp_async_wait<0>();
    }
    barrier();
    if (fault != Fault::forgotten_copy_wait || tile < 3) total += buffers[tile % 2 * 128 + (self + 64) % 128];
    if (fault != Fault::overwritten_copy_buffer) barrier();
  }
  y[self] = total;
}

GPU_KERNEL(32) half_warps_kernel(const float* x, float* y, Fault fault) {
  const auto self = static_cast<int>(threadIdx.x);
  float value = x[self];
  if (fault == Fault::exited_lane && self == 31) return;
  if (self < 16) {
    for (int offset = 8; offset > 0; offset /= 2) value += shuffle_xor(0x0000ffffU, value, offset);
    if (fault == Fault::shuffle_outside_mask) value = shuffle(0x0000ffffU, value, 20);
  } else {
    const uint32_t mask = fault == Fault::divergent_collective ? full_warp : 0xffff0000U;
    for (int offset = 8; offset > 0; offset /= 2) value += shuffle_xor(mask, value, offset);
  }
  y[self] = value;
}

GPU_KERNEL(32) counter_kernel(int32_t* counter, Fault fault) {
  if (threadIdx.x != 0) return;
  if (fault == Fault::blocks_race) {
    *counter += 1;
  } else {
    atomic_add(counter, 1);
  }
}

/// Rows of 24 elements keep ldmatrix's rows aligned to 16 bytes.
GPU_KERNEL(32) mma_kernel(const uint16_t* a, const uint16_t* b, float* d) {
  constexpr int stride = 24;
  GPU_SHARED(uint16_t, shared_a, 16 * stride);
  GPU_SHARED(uint16_t, shared_b, 16 * stride);
  const auto lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 16 * 16; i += 32) shared_a[i / 16 * stride + i % 16] = a[i];
  for (int i = lane; i < 16 * 16; i += 32) shared_b[i / 16 * stride + i % 16] = i % 16 < 8 ? b[i / 16 * 8 + i % 16] : 0;
  barrier();
  uint32_t fragment_a[4];
  uint32_t fragment_b[4];
  // Matrices of a: rows 0-7 and 8-15 of columns 0-7, then of columns 8-15. Matrices of b, transposed: rows 0-7, 8-15.
  ldmatrix_x4(fragment_a, shared_a + lane % 16 * stride + lane / 16 * 8);
  ldmatrix_x4_trans(fragment_b, shared_b + lane % 16 * stride + lane / 16 * 8);
  const uint32_t left_b[2] = {fragment_b[0], fragment_b[1]};
  float sums[4] = {0, 0, 0, 0};
  mma_m16n8k16(sums, fragment_a, left_b);
  for (int i = 0; i < 4; ++i) d[(lane / 4 + i / 2 * 8) * 8 + 2 * (lane % 4) + i % 2] = sums[i];
}

}  // namespace

void run_reduction(const float* x, float* y, Fault fault) {
  launch("reduction", reduction_kernel, 1, 128, 0, nullptr, x, y, fault);
}
void run_packs(const float* x, float* y, Fault fault) {
  launch("packs", packs_kernel, 1, 32, 0, nullptr, x, y, fault);
}
void run_exchange(const float* x, float* y, Fault fault) {
  launch("exchange", exchange_kernel, 1, 64, 0, nullptr, x, y, fault);
}
void run_pipeline(const float* x, float* y, Fault fault) {
  launch("pipeline", pipeline_kernel, 1, 128, 2 * 128 * sizeof(float), nullptr, x, y, fault);
}
void run_half_warps(const float* x, float* y, Fault fault) {
  launch("half_warps", half_warps_kernel, 1, 32, 0, nullptr, x, y, fault);
}
void run_counter(int32_t* counter, Fault fault) {
  launch("counter", counter_kernel, 4, 32, 0, nullptr, counter, fault);
}
void run_mma(const uint16_t* a, const uint16_t* b, float* d) {
  launch("mma", mma_kernel, 1, 32, 0, nullptr, a, b, d);
}

}  // namespace subspect::kernels::faults
