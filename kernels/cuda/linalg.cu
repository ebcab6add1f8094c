// Kernels between the library calls of the linear algebra on CUDA. All are memory-bound; sums and maxima over a chunk
// are one block's, in an order that the shape decides.
#include "kernels/linalg.h"

#include "kernels/cuda/platform.h"
#include "kernels/cuda/reduce.cuh"

namespace subspect::kernels {
namespace {

using namespace gpu;

constexpr int threads = 256;
constexpr int tile = 32;  // side of the squares that `transpose` moves through shared memory
constexpr int tile_rows = threads / tile;

template <int N, class T>
GPU_DEVICE Pack<T, N> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}

template <int N, class T>
GPU_DEVICE void store_pack(const Pack<T, N>& pack, T* to) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

GPU_DEVICE double row_factor(const double* factor, double scale, int64_t row) {
  return factor == nullptr ? scale : scale * factor[row];
}

template <int N, class In, class Out>
GPU_KERNEL(threads)
copy_rows_kernel(CopyRowsParams<In, Out> p, uint32_t tiles) {
  const RowPosition at = row_position(tiles, N);
  if (at.col >= p.cols) return;
  const int64_t from = p.index == nullptr ? at.row : p.index[at.row];
  const double factor = row_factor(p.factor, p.scale, at.row);
  const Pack<In, N> x = load_pack<N>(p.x + from * p.x_stride + at.col);
  Pack<Out, N> y;
  GPU_UNROLL
  for (int i = 0; i < N; ++i) y.value[i] = static_cast<Out>(factor * static_cast<double>(x.value[i]));
  store_pack<N>(y, p.y + at.row * p.y_stride + at.col);
}

template <int N>
GPU_KERNEL(threads)
add_rows_kernel(AddRowsParams p, uint32_t tiles) {
  const RowPosition at = row_position(tiles, N);
  if (at.col >= p.cols) return;
  const double factor = row_factor(p.factor, p.scale, at.row);
  const int64_t first = at.row * p.cols + at.col;
  const Pack<float, N> x = load_pack<N>(p.x + first);
  Pack<float, N> y = load_pack<N>(p.y + first);
  GPU_UNROLL
  for (int i = 0; i < N; ++i) {
    y.value[i] = static_cast<float>(static_cast<double>(y.value[i]) + factor * static_cast<double>(x.value[i]));
  }
  store_pack<N>(y, p.y + first);
}

/// One block for each square; its rows are read and its columns written coalesced.
template <class T>
GPU_KERNEL(threads)
transpose_kernel(const T* x, int64_t rows, int64_t cols, T* y, uint32_t tiles_across) {
  GPU_SHARED(T, square, tile * (tile + 1));
  const int64_t row = static_cast<int64_t>(blockIdx.x / tiles_across) * tile;
  const int64_t col = static_cast<int64_t>(blockIdx.x % tiles_across) * tile;
  const int lane = static_cast<int>(threadIdx.x) % tile;
  const int line = static_cast<int>(threadIdx.x) / tile;
  for (int i = line; i < tile; i += tile_rows) {
    if (row + i < rows && col + lane < cols) square[i * (tile + 1) + lane] = x[(row + i) * cols + col + lane];
  }
  barrier();
  for (int j = line; j < tile; j += tile_rows) {
    if (col + j < cols && row + lane < rows) y[(col + j) * rows + row + lane] = square[lane * (tile + 1) + j];
  }
}

/// Block c sums chunk c.
template <int N>
GPU_KERNEL(threads)
chunk_products_kernel(ChunkProductsParams p) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * p.chunk;
  const int64_t end = begin + p.chunk < p.count ? begin + p.chunk : p.count;
  double sum = 0;
  for (int64_t i = begin + static_cast<int64_t>(threadIdx.x) * N; i < end; i += static_cast<int64_t>(threads) * N) {
    const Pack<float, N> a = load_pack<N>(p.a + i);
    const Pack<float, N> b = load_pack<N>(p.b + i);
    GPU_UNROLL
    for (int j = 0; j < N; ++j) sum += static_cast<double>(a.value[j]) * static_cast<double>(b.value[j]);
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) p.sums[blockIdx.x] = sum;
}

/// The largest value over the block, in every thread of the first warp. All threads of the block call it.
template <class T>
GPU_DEVICE T block_largest(T value) {
  GPU_SHARED(T, partial, threads / warp_size);
  for (int offset = warp_size / 2; offset > 0; offset /= 2) {
    const T other = shuffle_xor(full_warp, value, offset);
    value = other > value ? other : value;
  }
  if (threadIdx.x % warp_size == 0) partial[threadIdx.x / warp_size] = value;
  barrier();
  T largest = partial[0];
  for (int warp = 1; warp < threads / warp_size; ++warp) largest = partial[warp] > largest ? partial[warp] : largest;
  return largest;
}

/// Bits without the sign are ordered as the magnitudes, infinity and NaN above all.
template <int N>
GPU_KERNEL(threads)
chunk_magnitudes_kernel(ChunkMagnitudesParams p) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * p.chunk;
  const int64_t end = begin + p.chunk < p.count ? begin + p.chunk : p.count;
  uint32_t largest = 0;
  for (int64_t i = begin + static_cast<int64_t>(threadIdx.x) * N; i < end; i += static_cast<int64_t>(threads) * N) {
    const Pack<float, N> x = load_pack<N>(p.x + i);
    GPU_UNROLL
    for (int j = 0; j < N; ++j) {
      const uint32_t magnitude = bits_of(x.value[j]) & 0x7fffffffU;
      largest = magnitude > largest ? magnitude : largest;
    }
  }
  largest = block_largest(largest);
  if (threadIdx.x == 0) p.largest[blockIdx.x] = float_of(largest);
}

/// Block i regards row i up to its diagonal.
GPU_KERNEL(threads)
identity_deviation_kernel(const double* gram, int64_t n, double* largest) {
  const int64_t i = blockIdx.x;
  double worst = 0;
  for (int64_t j = threadIdx.x; j <= i; j += threads) {
    const double deviation = gram[i * n + j] - (i == j ? 1.0 : 0.0);
    const double magnitude = deviation < 0 ? -deviation : deviation;
    worst = magnitude > worst ? magnitude : worst;
  }
  worst = block_largest(worst);
  if (threadIdx.x == 0) largest[i] = worst;
}

template <int N, class In, class Out>
void launch_copy_rows(Context<Cuda> on, const CopyRowsParams<In, Out>& p) {
  const uint32_t tiles = row_tiles(p.cols, threads, N);
  launch("copy_rows", copy_rows_kernel<N, In, Out>, p.rows * tiles, threads, 0, on.stream, p, tiles);
}

template <int N>
void launch_add_rows(Context<Cuda> on, const AddRowsParams& p) {
  const uint32_t tiles = row_tiles(p.cols, threads, N);
  launch("add_rows", add_rows_kernel<N>, p.rows * tiles, threads, 0, on.stream, p, tiles);
}

}  // namespace

template <Device D, class In, class Out>
void copy_rows(Context<D> on, const CopyRowsParams<In, Out>& p) {
  if (p.rows == 0 || p.cols == 0) return;
  constexpr int N = static_cast<int>(16 / (sizeof(In) > sizeof(Out) ? sizeof(In) : sizeof(Out)));
  if (aligned_rows(p.cols, N, p.x, p.y) && p.x_stride % N == 0 && p.y_stride % N == 0) {
    launch_copy_rows<N>(on, p);
  } else {
    launch_copy_rows<1>(on, p);
  }
}

template <Device D>
void add_rows(Context<D> on, const AddRowsParams& p) {
  if (p.rows == 0 || p.cols == 0) return;
  if (aligned_rows(p.cols, 4, p.x, p.y)) {
    launch_add_rows<4>(on, p);
  } else {
    launch_add_rows<1>(on, p);
  }
}

template <Device D, class T>
void transpose(Context<D> on, const T* x, int64_t rows, int64_t cols, T* y) {
  if (rows == 0 || cols == 0) return;
  const auto across = static_cast<uint32_t>(ceil_div(cols, tile));
  launch("transpose", transpose_kernel<T>, ceil_div(rows, tile) * across, threads, 0, on.stream, x, rows, cols, y,
         across);
}

template <Device D>
void chunk_products(Context<D> on, const ChunkProductsParams& p) {
  if (p.count == 0) return;
  const int64_t chunks = ceil_div(p.count, p.chunk);
  if (aligned_rows(p.count, 4, p.a, p.b) && p.chunk % 4 == 0) {
    launch("chunk_products", chunk_products_kernel<4>, chunks, threads, 0, on.stream, p);
  } else {
    launch("chunk_products", chunk_products_kernel<1>, chunks, threads, 0, on.stream, p);
  }
}

template <Device D>
void chunk_magnitudes(Context<D> on, const ChunkMagnitudesParams& p) {
  if (p.count == 0) return;
  const int64_t chunks = ceil_div(p.count, p.chunk);
  if (aligned_rows(p.count, 4, p.x) && p.chunk % 4 == 0) {
    launch("chunk_magnitudes", chunk_magnitudes_kernel<4>, chunks, threads, 0, on.stream, p);
  } else {
    launch("chunk_magnitudes", chunk_magnitudes_kernel<1>, chunks, threads, 0, on.stream, p);
  }
}

template <Device D>
void identity_deviation(Context<D> on, const double* gram, int64_t n, double* largest) {
  if (n == 0) return;
  launch("identity_deviation", identity_deviation_kernel, n, threads, 0, on.stream, gram, n, largest);
}

template void copy_rows(Context<Cuda>, const CopyRowsParams<float, float>&);
template void copy_rows(Context<Cuda>, const CopyRowsParams<float, double>&);
template void copy_rows(Context<Cuda>, const CopyRowsParams<double, float>&);
template void copy_rows(Context<Cuda>, const CopyRowsParams<double, double>&);
template void add_rows(Context<Cuda>, const AddRowsParams&);
template void transpose(Context<Cuda>, const float*, int64_t, int64_t, float*);
template void transpose(Context<Cuda>, const double*, int64_t, int64_t, double*);
template void chunk_products(Context<Cuda>, const ChunkProductsParams&);
template void chunk_magnitudes(Context<Cuda>, const ChunkMagnitudesParams&);
template void identity_deviation(Context<Cuda>, const double*, int64_t, double*);

}  // namespace subspect::kernels
