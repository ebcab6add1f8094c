// y = x W^T + b on the CPU, not on OpenBLAS: there a row's bits depend on how many rows are multiplied with it, and a
// sequence that is generated must not depend on what else is generated. Here every element of y is one sum over k in
// ascending order, whatever the sizes, the tiling and the number of threads.
#include <algorithm>
#include <type_traits>

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/partition.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd_targets.h"
#include "kernels/linear.h"
#include "kernels/thread_team.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/linear_forward.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/tile_gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace subspect::kernels::cpu::HWY_NAMESPACE {
namespace {

constexpr int64_t panel_cols = 32;    ///< columns of y that are computed together: rows of W, packed transposed
constexpr int64_t most_panels = 4;    ///< panels of a tile
constexpr int64_t most_rows = 256;    ///< rows of a tile
constexpr int64_t wanted_tiles = 64;  ///< for many threads
constexpr int64_t smallest_work = int64_t{1} << 20;  ///< multiplications worth a tile of their own

struct Tiling {
  int64_t rows;
  int64_t panels;
};

Tiling choose_tiling(int64_t rows, int64_t out, int64_t in) {
  const int64_t panels = ceil_div(out, panel_cols);
  Tiling tile{std::min(rows, most_rows), std::min(panels, most_panels)};
  const auto enough = [&] {
    return ceil_div(rows, tile.rows) * ceil_div(panels, tile.panels) >= wanted_tiles ||
           tile.rows * tile.panels * panel_cols * in <= smallest_work;
  };
  while (!enough() && tile.panels > 1) tile.panels /= 2;
  while (!enough() && tile.rows > 48) tile.rows = round_up(tile.rows / 2, 12);
  return tile;
}

/// packed [in, panel_cols] = transpose of rows [first, first + cols) of W, zero in the missing columns.
template <class T>
void pack_panel(const T* weight, int64_t first, int64_t cols, int64_t in, float* HWY_RESTRICT packed) {
  constexpr int64_t strip = 16;
  HWY_ALIGN float rows[panel_cols * strip];
  for (int64_t begin = 0; begin < in; begin += strip) {
    const int64_t depth = std::min(strip, in - begin);
    load_tile(weight + first * in + begin, in, cols, depth, 1.0F, rows, strip);
    transpose_tile(rows, strip, cols, depth, packed + begin * panel_cols, panel_cols);
  }
}

/// Adds the bias and writes rows of a panel to y.
template <class T, class Y>
void write_panel(const LinearForwardParams<T, Y>& p, const float* tile, int64_t row, int64_t rows, int64_t col,
                 int64_t cols) {
  for (int64_t i = 0; i < rows; ++i) {
    const float* from = tile + i * panel_cols;
    Y* to = p.y + (row + i) * p.out + col;
    for_each_vector(cols, [&](int64_t j, auto part) HWY_ATTR {
      Float value = load(from + j, part);
      if (p.bias != nullptr) value = hn::Add(value, load(p.bias + col + j, part));
      store(value, to + j, part);
    });
  }
}

template <class T, class Y>
void multiply_tile(const LinearForwardParams<T, Y>& p, int64_t row, int64_t rows, int64_t first_panel, int64_t panels) {
  Scratch scratch;
  float* packed = scratch.allocate<float>(p.in * panel_cols);
  float* tile = scratch.allocate<float>(rows * panel_cols);
  const float* x = nullptr;
  if constexpr (std::is_same_v<T, float>) {
    x = p.x + row * p.in;
  } else {
    auto* copy = scratch.allocate<float>(rows * p.in);
    convert(p.x + row * p.in, copy, rows * p.in);
    x = copy;
  }
  for (int64_t panel = first_panel; panel < first_panel + panels; ++panel) {
    const int64_t col = panel * panel_cols;
    const int64_t cols = std::min(panel_cols, p.out - col);
    pack_panel(p.weight, col, cols, p.in, packed);
    tile_gemm<false>({x, p.in, 1}, packed, panel_cols, tile, panel_cols, rows, panel_cols, p.in);
    write_panel(p, tile, row, rows, col, cols);
  }
}

template <class T, class Y>
void multiply(ThreadTeam& team, const LinearForwardParams<T, Y>& p) {
  if (p.rows == 0 || p.out == 0) return;
  const Tiling tile = choose_tiling(p.rows, p.out, p.in);
  const int64_t row_tiles = ceil_div(p.rows, tile.rows);
  const int64_t panels = ceil_div(p.out, panel_cols);
  team.for_each_chunk(row_tiles * ceil_div(panels, tile.panels), [&](int64_t chunk) HWY_ATTR {
    const int64_t row = chunk % row_tiles * tile.rows;
    const int64_t panel = chunk / row_tiles * tile.panels;
    multiply_tile(p, row, std::min(tile.rows, p.rows - row), panel, std::min(tile.panels, panels - panel));
  });
}

void forward_float32(ThreadTeam& team, const LinearForwardParams<float>& p) {
  multiply(team, p);
}
void forward_bfloat16(ThreadTeam& team, const LinearForwardParams<bfloat16>& p) {
  multiply(team, p);
}
void forward_widening(ThreadTeam& team, const LinearForwardParams<bfloat16, float>& p) {
  multiply(team, p);
}

}  // namespace
}  // namespace subspect::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace subspect::kernels {
namespace cpu {
namespace {

HWY_EXPORT(forward_float32);
HWY_EXPORT(forward_bfloat16);
HWY_EXPORT(forward_widening);

void forward(ThreadTeam& team, const LinearForwardParams<float>& p) {
  HWY_DYNAMIC_DISPATCH(forward_float32)(team, p);
}
void forward(ThreadTeam& team, const LinearForwardParams<bfloat16>& p) {
  HWY_DYNAMIC_DISPATCH(forward_bfloat16)(team, p);
}
void forward(ThreadTeam& team, const LinearForwardParams<bfloat16, float>& p) {
  HWY_DYNAMIC_DISPATCH(forward_widening)(team, p);
}

}  // namespace
}  // namespace cpu

template <Device D, class T, class Y>
void linear_forward(Context<D> on, const LinearForwardParams<T, Y>& p) {
  cpu::forward(*on.team, p);
}

template void linear_forward(Context<Cpu>, const LinearForwardParams<float, float>&);
template void linear_forward(Context<Cpu>, const LinearForwardParams<bfloat16, bfloat16>&);
template void linear_forward(Context<Cpu>, const LinearForwardParams<bfloat16, float>&);

}  // namespace subspect::kernels
#endif
