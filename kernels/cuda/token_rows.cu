// Copies of rows between all tokens and those that count: blocks are pairs (row, tile of the row).
#include "kernels/cuda/token_rows.h"

#include <type_traits>

#include "kernels/cuda/reduce.cuh"

namespace subspect::kernels::gpu {
namespace {

constexpr int threads = 128;
constexpr int index_threads = 1024;

/// One block, which goes through the tokens in order.
template <class Unused = void>
GPU_KERNEL(index_threads)
index_counted_kernel(const int32_t* targets, int64_t tokens, int32_t* indices, int64_t wanted) {
  int64_t found = 0;
  for (int64_t first = 0; first < tokens; first += index_threads) {
    const int64_t token = first + threadIdx.x;
    const int32_t counts = token < tokens && targets[token] >= 0 ? 1 : 0;
    const int64_t place = found + block_exclusive_sum(counts);
    if (counts != 0 && place < wanted) indices[place] = static_cast<int32_t>(token);
    found += block_sum(counts);
  }
  for (int64_t i = found + threadIdx.x; i < wanted; i += index_threads) indices[i] = -1;
}

template <int N, class T>
GPU_KERNEL(threads)
gather_rows_kernel(const T* all, const int32_t* indices, T* rows, int64_t cols, uint32_t tiles) {
  const RowPosition at = row_position(tiles, N);
  if (at.col >= cols) return;
  const int64_t index = indices[at.row];
  Floats<N> values{};
  if (index >= 0) values = load<N>(all + index * cols + at.col);
  store(values, rows + at.row * cols + at.col);
}

template <int N, class T>
GPU_KERNEL(threads)
scatter_rows_kernel(const T* rows, const int32_t* indices, T* all, int64_t cols, uint32_t tiles) {
  const RowPosition at = row_position(tiles, N);
  const int64_t index = indices[at.row];
  if (at.col >= cols || index < 0) return;
  store(load<N>(rows + at.row * cols + at.col), all + index * cols + at.col);
}

template <int N, class T>
GPU_KERNEL(threads)
clear_ignored_rows_kernel(const int32_t* targets, T* all, int64_t cols, uint32_t tiles) {
  const RowPosition at = row_position(tiles, N);
  if (at.col >= cols || targets[at.row] >= 0) return;
  store(Floats<N>{}, all + at.row * cols + at.col);
}

template <class Unused = void>
GPU_KERNEL(threads)
gather_targets_kernel(const int32_t* targets, const int32_t* indices, int32_t* gathered, int64_t count) {
  const int64_t i = global_thread();
  if (i < count) gathered[i] = indices[i] < 0 ? -1 : targets[indices[i]];
}

/// Calls `run` with the elements of one access as a constant.
template <class T, class Run>
void with_width(bool aligned, const Run& run) {
  if (aligned) {
    run(std::integral_constant<int, widest<T>>());
  } else {
    run(std::integral_constant<int, 1>());
  }
}

}  // namespace

void index_counted(CUstream_st* stream, const int32_t* targets, int64_t tokens, int32_t* indices, int64_t wanted) {
  if (wanted == 0) return;
  launch("index_counted", index_counted_kernel<>, 1, index_threads, 0, stream, targets, tokens, indices, wanted);
}

void gather_targets(CUstream_st* stream, const int32_t* targets, const int32_t* indices, int32_t* gathered,
                    int64_t count) {
  if (count == 0) return;
  launch("gather_targets", gather_targets_kernel<>, ceil_div(count, threads), threads, 0, stream, targets, indices,
         gathered, count);
}

template <class T>
void gather_rows(CUstream_st* stream, const T* all, const int32_t* indices, T* rows, int64_t count, int64_t cols) {
  if (count == 0 || cols == 0) return;
  with_width<T>(aligned_rows(cols, widest<T>, all, rows), [&](auto width) {
    const uint32_t tiles = row_tiles(cols, threads, width);
    launch("gather_rows", gather_rows_kernel<decltype(width)::value, T>, count * tiles, threads, 0, stream, all,
           indices, rows, cols, tiles);
  });
}

template <class T>
void scatter_rows(CUstream_st* stream, const T* rows, const int32_t* indices, T* all, int64_t count, int64_t cols) {
  if (count == 0 || cols == 0) return;
  with_width<T>(aligned_rows(cols, widest<T>, all, rows), [&](auto width) {
    const uint32_t tiles = row_tiles(cols, threads, width);
    launch("scatter_rows", scatter_rows_kernel<decltype(width)::value, T>, count * tiles, threads, 0, stream, rows,
           indices, all, cols, tiles);
  });
}

template <class T>
void clear_ignored_rows(CUstream_st* stream, const int32_t* targets, T* all, int64_t tokens, int64_t cols) {
  if (tokens == 0 || cols == 0) return;
  with_width<T>(aligned_rows(cols, widest<T>, all), [&](auto width) {
    const uint32_t tiles = row_tiles(cols, threads, width);
    launch("clear_ignored_rows", clear_ignored_rows_kernel<decltype(width)::value, T>, tokens * tiles, threads, 0,
           stream, targets, all, cols, tiles);
  });
}

template void gather_rows(CUstream_st*, const float*, const int32_t*, float*, int64_t, int64_t);
template void gather_rows(CUstream_st*, const bfloat16*, const int32_t*, bfloat16*, int64_t, int64_t);
template void scatter_rows(CUstream_st*, const float*, const int32_t*, float*, int64_t, int64_t);
template void scatter_rows(CUstream_st*, const bfloat16*, const int32_t*, bfloat16*, int64_t, int64_t);
template void clear_ignored_rows(CUstream_st*, const int32_t*, float*, int64_t, int64_t);
template void clear_ignored_rows(CUstream_st*, const int32_t*, bfloat16*, int64_t, int64_t);

}  // namespace subspect::kernels::gpu
