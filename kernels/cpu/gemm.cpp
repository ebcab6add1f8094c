// Tiles of a product, each computed by one single-threaded sgemm. bfloat16 operands are widened to float32 panel by
// panel in the thread's scratch memory.
#include "kernels/cpu/gemm.h"

#include <cblas.h>

#include <algorithm>
#include <type_traits>

#include "kernels/cpu/convert.h"
#include "kernels/cpu/partition.h"
#include "kernels/cpu/scratch.h"

namespace subspect::kernels::cpu {
namespace {

constexpr int64_t largest_tile = 256;
constexpr int64_t good_tile = 128;     ///< smaller ones cost OpenBLAS a fifth of its speed or more
constexpr int64_t smallest_tile = 64;  ///< where there would be less than `fewest_tiles` otherwise
constexpr int64_t fewest_tiles = 4;
constexpr int64_t wanted_tiles = 32;
constexpr int64_t smallest_work = int64_t{1} << 21;  ///< multiplications worth a tile of their own

struct Tiling {
  int64_t rows;
  int64_t cols;
};

Tiling choose_tiling(int64_t rows, int64_t cols, int64_t depth) {
  Tiling tile{std::min(rows, largest_tile), std::min(cols, largest_tile)};
  const auto halve = [](int64_t& size) { size = round_up(ceil_div(size, 2), 16); };
  while (tile.rows * tile.cols * depth > smallest_work) {
    const int64_t tiles = ceil_div(rows, tile.rows) * ceil_div(cols, tile.cols);
    const int64_t least = tiles < fewest_tiles ? smallest_tile : good_tile;
    if (tiles >= wanted_tiles || std::max(tile.rows, tile.cols) <= least) break;
    halve(tile.rows >= tile.cols ? tile.rows : tile.cols);
  }
  return tile;
}

/// A float matrix as BLAS takes it.
struct Panel {
  const float* data;
  int64_t stride;
};

/// Rows [first, first + rows) and columns [from, from + cols) of a stored matrix, as floats.
template <class T>
Panel panel(Scratch& scratch, const T* matrix, int64_t stride, int64_t first, int64_t rows, int64_t from,
            int64_t cols) {
  const T* source = matrix + first * stride + from;
  if constexpr (std::is_same_v<T, float>) {
    return {source, stride};
  } else {
    auto* copy = scratch.allocate<float>(rows * cols);
    for (int64_t i = 0; i < rows; ++i) convert_range(source + i * stride, copy + i * cols, cols);
    return {copy, cols};
  }
}

template <class T, class C>
void multiply_tile(const MatrixProduct<T, C>& p, int64_t row, int64_t rows, int64_t col, int64_t cols) {
  Scratch scratch;
  const Panel a = p.a_transposed ? panel(scratch, p.a, p.rows, 0, p.depth, row, rows)
                                 : panel(scratch, p.a, p.depth, row, rows, 0, p.depth);
  const Panel b = p.b_transposed ? panel(scratch, p.b, p.depth, col, cols, 0, p.depth)
                                 : panel(scratch, p.b, p.cols, 0, p.depth, col, cols);
  C* target = p.c + row * p.cols + col;
  float* c = nullptr;
  int64_t stride = cols;
  if constexpr (std::is_same_v<C, float>) {
    c = target;
    stride = p.cols;
  } else {
    c = scratch.allocate<float>(rows * cols);
  }
  cblas_sgemm(CblasRowMajor, p.a_transposed ? CblasTrans : CblasNoTrans, p.b_transposed ? CblasTrans : CblasNoTrans,
              static_cast<blasint>(rows), static_cast<blasint>(cols), static_cast<blasint>(p.depth), 1.0F, a.data,
              static_cast<blasint>(a.stride), b.data, static_cast<blasint>(b.stride), p.accumulate ? 1.0F : 0.0F, c,
              static_cast<blasint>(stride));
  if constexpr (!std::is_same_v<C, float>) {
    for (int64_t i = 0; i < rows; ++i) convert_range(c + i * stride, target + i * p.cols, cols);
  }
}

/// OpenBLAS's own threads would only compete with the team.
void use_one_blas_thread() {
  if (openblas_get_num_threads() != 1) openblas_set_num_threads(1);
}

}  // namespace

template <class T, class C>
void multiply(ThreadTeam& team, const MatrixProduct<T, C>& product) {
  if (product.rows == 0 || product.cols == 0) return;
  use_one_blas_thread();
  const Tiling tile = choose_tiling(product.rows, product.cols, product.depth);
  const int64_t row_tiles = ceil_div(product.rows, tile.rows);
  team.for_each_chunk(row_tiles * ceil_div(product.cols, tile.cols), [&](int64_t chunk) {
    const int64_t row = chunk % row_tiles * tile.rows;
    const int64_t col = chunk / row_tiles * tile.cols;
    multiply_tile(product, row, std::min(tile.rows, product.rows - row), col, std::min(tile.cols, product.cols - col));
  });
}

template void multiply(ThreadTeam&, const MatrixProduct<float, float>&);
template void multiply(ThreadTeam&, const MatrixProduct<bfloat16, bfloat16>&);
template void multiply(ThreadTeam&, const MatrixProduct<bfloat16, float>&);

}  // namespace subspect::kernels::cpu
