// Small kernels whose counts follow from their text, for the tests of the counters; with a fault each, or none.
#pragma once

#include <cstdint>

namespace subspect::kernels::micro {

/// y[i] = x[i * stride + offset], 32 lanes.
void run_strided_load(const float* x, float* y, int stride, int offset);
/// Copies 128 floats by 32 lanes: 16 bytes a lane, or four stores of 4 bytes.
void run_wide_copy(const float* x, float* y, bool scalar_stores);
/// y [32, 32] = x^T through a tile in shared memory whose rows are 33 floats long, or 32 without padding.
void run_tile_transpose(const float* x, float* y, bool padded);
/// Reads pairs or fours of floats from shared memory at [lane * stride] and writes them to y.
void run_shared_vectors(float* y, int width, int stride);
/// Each lane adds up as many elements as its number: lanes leave a loop one after the other.
void run_triangle(const float* x, float* y);
/// Odd lanes read another array than even lanes, and skip every second turn of a loop.
void run_divergent(const float* x, const float* z, float* y);
/// Every lane adds 1 to counters[lane / 8], in device memory and then in shared memory.
void run_atomics(int32_t* counters, int32_t* copies);
/// 32 lanes bring 512 bytes by cp.async, the lanes from `exists` on zeros; y gets what arrived.
void run_async_copy(const float* x, float* y, int exists);
/// Two warps: 3 shuffles, 2 barriers, 5 exponentials of every lane.
void run_collectives(float* y);
/// One ldmatrix x4 and one mma; rows of the tile are 16, 24 or 64 elements apart.
void run_matrix(const uint16_t* a, float* d, int stride);
/// Scores of 64 queries and `keys` keys of 16 numbers by mma, 64 keys at a time. `causal_skip` leaves out the 64 keys
/// that no query sees.
void run_scores(const uint16_t* q, const uint16_t* k, float* sums, int keys, bool causal_skip);
/// y = k [32 keys, 16] through shared memory, read along the rows 16 bytes at a time, or a lane a row, by column.
void run_key_tile(const uint16_t* k, uint16_t* y, bool by_column);
/// Calls a function that is not inlined, from two places.
void run_calls(const float* x, float* y);
/// Copies structures that no single access of a GPU moves: 24 bytes, or two floats that are aligned to 4.
void run_split_copy(const float* x, float* y, bool pair);

}  // namespace subspect::kernels::micro
