// Small kernels whose counts follow from their text.
#include "tests/simt/counters/micro_kernels.h"

#include "kernels/cuda/platform.h"
#include "kernels/cuda/ptx.cuh"

namespace subspect::kernels::micro {
namespace {

using namespace gpu;

GPU_KERNEL(32) strided_load_kernel(const float* x, float* y, int stride, int offset) {
  const auto lane = static_cast<int>(threadIdx.x);
  y[lane] = x[lane * stride + offset];
}

GPU_KERNEL(32) wide_copy_kernel(const float* x, float* y, bool scalar_stores) {
  const auto lane = static_cast<int>(threadIdx.x);
  const Floats<4> values = load<4>(x + 4 * lane);
  if (!scalar_stores) {
    store(values, y + 4 * lane);
    return;
  }
  for (int i = 0; i < 4; ++i) y[4 * lane + i] = values.value[i];
}

template <int Stride>
GPU_KERNEL(32)
tile_transpose_kernel(const float* x, float* y) {
  GPU_SHARED(float, tile, 32 * Stride);
  const auto lane = static_cast<int>(threadIdx.x);
  for (int row = 0; row < 32; ++row) tile[row * Stride + lane] = x[row * 32 + lane];
  barrier();
  for (int row = 0; row < 32; ++row) y[row * 32 + lane] = tile[lane * Stride + row];
}

template <int Width>
GPU_KERNEL(32)
shared_vectors_kernel(float* y, int stride) {
  GPU_SHARED(float, values, 1024);
  const auto lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 1024; i += 32) values[i] = static_cast<float>(i);
  barrier();
  store(load<Width>(values + lane * stride), y + lane * Width);
}

GPU_KERNEL(32) triangle_kernel(const float* x, float* y) {
  const auto lane = static_cast<int>(threadIdx.x);
  float sum = 0;
  for (int i = 0; i < lane; ++i) sum += x[32 * i + lane];
  y[lane] = sum;
}

GPU_KERNEL(32) divergent_kernel(const float* x, const float* z, float* y) {
  const auto lane = static_cast<int>(threadIdx.x);
  float sum = 0;
  for (int i = 0; i < 8; ++i) {
    if (i % 2 == lane % 2) sum += x[32 * i + lane];
  }
  if (lane % 2 == 0) {
    sum += x[lane];
  } else {
    sum += z[lane];
  }
  y[lane] = sum;
}

GPU_KERNEL(32) atomics_kernel(int32_t* counters, int32_t* copies) {
  GPU_SHARED(int32_t, shared_counters, 4);
  const auto lane = static_cast<int>(threadIdx.x);
  if (lane < 4) shared_counters[lane] = 0;
  barrier();
  atomic_add(counters + lane / 8, 1);
  atomic_add(shared_counters + lane / 8, 1);
  barrier();
  if (lane < 4) copies[lane] = shared_counters[lane];
}

GPU_KERNEL(32) async_copy_kernel(const float* x, float* y, int exists) {
  GPU_SHARED(float, tile, 128);
  const auto lane = static_cast<int>(threadIdx.x);
  cp_async16(tile + 4 * lane, x + 4 * lane, lane < exists);
  cp_async_commit();
  cp_async_wait<0>();
  barrier();
  store(load<4>(tile + 4 * lane), y + 4 * lane);
}

GPU_KERNEL(64) collectives_kernel(float* y) {
  auto value = static_cast<float>(threadIdx.x);
  for (int offset = 1; offset < 8; offset *= 2) value += shuffle_xor(full_warp, value, offset);
  barrier();
  for (int i = 0; i < 4; ++i) value = fast_exp2(-value);
  barrier();
  y[threadIdx.x] = fast_exp(value);
}

GPU_KERNEL(32) matrix_kernel(const uint16_t* a, float* d, int stride) {
  GPU_SHARED(uint16_t, tile, 16 * 64);
  const auto lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 16 * 16; i += 32) tile[i / 16 * stride + i % 16] = a[i];
  barrier();
  uint32_t fragment[4];
  ldmatrix_x4(fragment, tile + lane % 16 * stride + lane / 16 * 8);
  float sums[4] = {0, 0, 0, 0};
  const uint32_t right[2] = {fragment[0], fragment[1]};
  mma_m16n8k16(sums, fragment, right);
  for (int i = 0; i < 4; ++i) d[4 * lane + i] = sums[i];
}

/// Four warps with 16 queries each. The factors come from device memory straight to the fragments.
GPU_KERNEL(128)
scores_kernel(const uint16_t* q, const uint16_t* k, float* sums, int keys, bool causal_skip) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int first_query = static_cast<int>(blockIdx.x) * 64 + static_cast<int>(threadIdx.x) / 32 * 16;
  const int group = lane / 4;
  const int column = 2 * (lane % 4);
  const auto pair = [](const uint16_t* from) { return *reinterpret_cast<const uint32_t*>(from); };
  uint32_t query[4];
  for (int i = 0; i < 4; ++i) query[i] = pair(q + (first_query + group + i % 2 * 8) * 16 + column + i / 2 * 8);
  float total[4] = {0, 0, 0, 0};
  const int last = causal_skip ? (static_cast<int>(blockIdx.x) + 1) * 64 : keys;
  for (int first = 0; first < last; first += 8) {
    uint32_t key[2];
    for (int i = 0; i < 2; ++i) key[i] = pair(k + (first + group) * 16 + column + 8 * i);
    mma_m16n8k16(total, query, key);
  }
  for (int i = 0; i < 4; ++i) sums[(first_query + group + i / 2 * 8) * 8 + column + i % 2] = total[i];
}

GPU_KERNEL(32) key_tile_kernel(const uint16_t* k, uint16_t* y, bool by_column) {
  GPU_SHARED(uint16_t, tile, 32 * 16);
  const auto lane = static_cast<int>(threadIdx.x);
  if (by_column) {
    for (int c = 0; c < 16; ++c) tile[lane * 16 + c] = k[lane * 16 + c];
  } else {
    for (int i = lane; i < 64; i += 32) cp_async16(tile + 8 * i, k + 8 * i);
    cp_async_commit();
    cp_async_wait<0>();
  }
  barrier();
  for (int i = lane; i < 32 * 16; i += 32) y[i] = tile[i];
}

[[gnu::noinline]] float read_element(const float* x, int at) {
  return x[at];
}

GPU_KERNEL(32) calls_kernel(const float* x, float* y) {
  const auto lane = static_cast<int>(threadIdx.x);
  y[lane] = lane < 16 ? read_element(x, lane) : read_element(x, 64 + lane);
}

struct Triple {
  double value[3];
};
struct Pair {
  float low, high;
};

template <class Element>
GPU_KERNEL(32)
split_copy_kernel(const Element* x, Element* y) {
  y[threadIdx.x] = x[threadIdx.x];
}

}  // namespace

void run_strided_load(const float* x, float* y, int stride, int offset) {
  launch("strided_load", strided_load_kernel, 1, 32, 0, nullptr, x, y, stride, offset);
}
void run_wide_copy(const float* x, float* y, bool scalar_stores) {
  launch("wide_copy", wide_copy_kernel, 1, 32, 0, nullptr, x, y, scalar_stores);
}
void run_tile_transpose(const float* x, float* y, bool padded) {
  launch("tile_transpose", padded ? tile_transpose_kernel<33> : tile_transpose_kernel<32>, 1, 32, 0, nullptr, x, y);
}
void run_shared_vectors(float* y, int width, int stride) {
  launch("shared_vectors", width == 2 ? shared_vectors_kernel<2> : shared_vectors_kernel<4>, 1, 32, 0, nullptr, y,
         stride);
}
void run_triangle(const float* x, float* y) {
  launch("triangle", triangle_kernel, 1, 32, 0, nullptr, x, y);
}
void run_divergent(const float* x, const float* z, float* y) {
  launch("divergent", divergent_kernel, 1, 32, 0, nullptr, x, z, y);
}
void run_atomics(int32_t* counters, int32_t* copies) {
  launch("atomics", atomics_kernel, 1, 32, 0, nullptr, counters, copies);
}
void run_async_copy(const float* x, float* y, int exists) {
  launch("async_copy", async_copy_kernel, 1, 32, 0, nullptr, x, y, exists);
}
void run_collectives(float* y) {
  launch("collectives", collectives_kernel, 1, 64, 0, nullptr, y);
}
void run_matrix(const uint16_t* a, float* d, int stride) {
  launch("matrix", matrix_kernel, 1, 32, 0, nullptr, a, d, stride);
}
void run_scores(const uint16_t* q, const uint16_t* k, float* sums, int keys, bool causal_skip) {
  launch("scores", scores_kernel, keys / 64, 128, 0, nullptr, q, k, sums, keys, causal_skip);
}
void run_key_tile(const uint16_t* k, uint16_t* y, bool by_column) {
  launch("key_tile", key_tile_kernel, 1, 32, 0, nullptr, k, y, by_column);
}
void run_calls(const float* x, float* y) {
  launch("calls", calls_kernel, 1, 32, 0, nullptr, x, y);
}
void run_split_copy(const float* x, float* y, bool pair) {
  if (pair) {
    launch("pairs", split_copy_kernel<Pair>, 1, 32, 0, nullptr, reinterpret_cast<const Pair*>(x),
           reinterpret_cast<Pair*>(y));
  } else {
    launch("triples", split_copy_kernel<Triple>, 1, 32, 0, nullptr, reinterpret_cast<const Triple*>(x),
           reinterpret_cast<Triple*>(y));
  }
}

}  // namespace subspect::kernels::micro
