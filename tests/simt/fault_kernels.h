// Kernels with one planted fault each, and their correct versions: what the shim must report, and must not.
#pragma once

#include <cstdint>

namespace subspect::kernels::faults {

enum class Fault {
  none,
  dropped_barrier,          ///< reads the neighbour's shared element before it was written
  dropped_second_barrier,   ///< reuses a reduction's buffer while others still read it
  missing_sync_warp,        ///< exchanges through shared memory within a warp
  device_out_of_bounds,     ///< writes one element too many
  misaligned_pack,          ///< loads 16 bytes from an address that does not divide by 16
  shared_out_of_bounds,     ///< reads one element too many
  array_out_of_bounds,      ///< writes an element that a thread's own array does not have
  wide_shift,               ///< shifts a number by as many bits as it has
  uninitialised_shared,     ///< reads a shared element that nobody wrote
  overwritten_copy_buffer,  ///< starts the next cp.async into a buffer that others still read
  early_copy_read,          ///< reads a cp.async destination without waiting
  forgotten_copy_wait,      ///< exits with a cp.async in flight
  divergent_barrier,        ///< half of the threads skip the barrier
  two_barriers,             ///< half of the threads wait at another barrier
  shuffle_outside_mask,     ///< takes a value from a lane that does not take part
  divergent_collective,     ///< half of a warp is at another shuffle
  exited_lane,              ///< a lane of the mask has exited
  blocks_race,              ///< two blocks write one element
};

/// Adds up each thread's element over a block of 128 threads, twice over, through shared memory; y has 128 elements.
void run_reduction(const float* x, float* y, Fault fault);
/// y[i] = x[i] for 128 elements, in packs of four.
void run_packs(const float* x, float* y, Fault fault);
/// y[i] = x[i ^ 1] through shared memory, within warps; 64 elements.
void run_exchange(const float* x, float* y, Fault fault);
/// y[i] = sum over 4 tiles of 128 elements of x, each brought by cp.async into two buffers in turn; y has 128 elements.
void run_pipeline(const float* x, float* y, Fault fault);
/// y[i] = the sum of x over the lanes of each half warp; 32 elements.
void run_half_warps(const float* x, float* y, Fault fault);
/// counter[0] += 1 by each of 4 blocks of 32 threads, atomically; with blocks_race not atomically.
void run_counter(int32_t* counter, Fault fault);
/// d [16, 8] = a [16, 16] b [16, 8], bfloat16 bits, by ldmatrix and mma.sync in one warp.
void run_mma(const uint16_t* a, const uint16_t* b, float* d);

}  // namespace subspect::kernels::faults
