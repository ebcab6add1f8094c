// Products of small float tiles that stay in cache: register-blocked, one broadcast element of A times vectors of B.
// Included once per instruction set, after simd-inl.h.
#include "kernels/cpu/simd-inl.h"

#if defined(SUBSPECT_KERNELS_CPU_TILE_GEMM_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SUBSPECT_KERNELS_CPU_TILE_GEMM_INL_H
#undef SUBSPECT_KERNELS_CPU_TILE_GEMM_INL_H
#else
#define SUBSPECT_KERNELS_CPU_TILE_GEMM_INL_H
#endif

HWY_BEFORE_NAMESPACE();
namespace subspect::kernels::cpu::HWY_NAMESPACE {

/// Tiles have rows of a multiple of this many floats, zero beyond their width.
inline constexpr int64_t tile_padding = 16;

/// A view of A: element (i, k) is data[i * row + k * col].
struct TileA {
  const float* data;
  int64_t row;
  int64_t col;
};

/// `rows` x `vectors` vectors of C (+)= A B, in registers.
template <int rows, int vectors, bool accumulate>
HWY_INLINE void tile_block(TileA a, const float* HWY_RESTRICT b, int64_t ldb, float* HWY_RESTRICT c, int64_t ldc,
                           int64_t depth) {
  const FloatTag df;
  const int64_t lanes = float_lanes();
  Float sum[rows][vectors];
  HWY_UNROLL(16)
  for (int i = 0; i < rows; ++i) {
    HWY_UNROLL(4)
    for (int j = 0; j < vectors; ++j) sum[i][j] = accumulate ? load(c + i * ldc + j * lanes) : hn::Zero(df);
  }
  for (int64_t k = 0; k < depth; ++k) {
    Float row[vectors];
    HWY_UNROLL(4)
    for (int j = 0; j < vectors; ++j) row[j] = load(b + k * ldb + j * lanes);
    HWY_UNROLL(16)
    for (int i = 0; i < rows; ++i) {
      const Float element = hn::Set(df, a.data[i * a.row + k * a.col]);
      HWY_UNROLL(4)
      for (int j = 0; j < vectors; ++j) sum[i][j] = hn::MulAdd(element, row[j], sum[i][j]);
    }
  }
  HWY_UNROLL(16)
  for (int i = 0; i < rows; ++i) {
    HWY_UNROLL(4)
    for (int j = 0; j < vectors; ++j) store(sum[i][j], c + i * ldc + j * lanes);
  }
}

/// `rows` rows of C, all of its columns.
template <int rows, bool accumulate>
HWY_INLINE void tile_rows(TileA a, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t cols, int64_t depth) {
  const int64_t lanes = float_lanes();
  int64_t j = 0;
  for (; j + 2 * lanes <= cols; j += 2 * lanes) tile_block<rows, 2, accumulate>(a, b + j, ldb, c + j, ldc, depth);
  if (j < cols) tile_block<rows, 1, accumulate>(a, b + j, ldb, c + j, ldc, depth);
}

/// C [rows, cols] = A B, or C += A B. B is [depth, cols] with rows ldb apart; cols is a multiple of `tile_padding`.
template <bool accumulate>
HWY_NOINLINE void tile_gemm(TileA a, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t rows, int64_t cols,
                            int64_t depth) {
  constexpr int block = HWY_MAX_BYTES >= 64 ? 12 : 6;  // 2 * block sums fit the registers
  int64_t i = 0;
  const auto advance = [&](int64_t count) HWY_ATTR {
    a.data += count * a.row;
    c += count * ldc;
    i += count;
  };
  // NOLINTBEGIN(bugprone-infinite-loop): `advance` moves i
  while (i + block <= rows) {
    tile_rows<block, accumulate>(a, b, ldb, c, ldc, cols, depth);
    advance(block);
  }
  while (i + 4 <= rows) {
    tile_rows<4, accumulate>(a, b, ldb, c, ldc, cols, depth);
    advance(4);
  }
  while (i < rows) {
    tile_rows<1, accumulate>(a, b, ldb, c, ldc, cols, depth);
    advance(1);
  }
  // NOLINTEND(bugprone-infinite-loop)
}

/// to [rows, padded] = factor * from [rows, cols], zero in the padding.
template <class T>
HWY_INLINE void load_tile(const T* from, int64_t stride, int64_t rows, int64_t cols, float factor, float* to,
                          int64_t padded) {
  const Float f = hn::Set(FloatTag(), factor);
  for (int64_t i = 0; i < rows; ++i) {
    const T* source = from + i * stride;
    float* target = to + i * padded;
    for_each_vector(
        cols, [&](int64_t j, auto part) HWY_ATTR { store(hn::Mul(f, load(source + j, part)), target + j, part); });
    for (int64_t j = cols; j < padded; ++j) target[j] = 0;
  }
}

/// The transpose of a 4 x 4 block.
HWY_INLINE HWY_MAYBE_UNUSED void transpose_block(const float* HWY_RESTRICT from, int64_t stride, float* HWY_RESTRICT to,
                                                 int64_t padded) {
#if HWY_TARGET == HWY_SCALAR
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < 4; ++j) to[j * padded + i] = from[i * stride + j];
  }
#else
  const hn::FixedTag<float, 4> d4;
  const auto row0 = hn::LoadU(d4, from);
  const auto row1 = hn::LoadU(d4, from + stride);
  const auto row2 = hn::LoadU(d4, from + 2 * stride);
  const auto row3 = hn::LoadU(d4, from + 3 * stride);
  const auto low02 = hn::InterleaveLower(row0, row2);
  const auto low13 = hn::InterleaveLower(row1, row3);
  const auto high02 = hn::InterleaveUpper(d4, row0, row2);
  const auto high13 = hn::InterleaveUpper(d4, row1, row3);
  hn::StoreU(hn::InterleaveLower(low02, low13), d4, to);
  hn::StoreU(hn::InterleaveUpper(d4, low02, low13), d4, to + padded);
  hn::StoreU(hn::InterleaveLower(high02, high13), d4, to + 2 * padded);
  hn::StoreU(hn::InterleaveUpper(d4, high02, high13), d4, to + 3 * padded);
#endif
}

/// to [cols, padded] = transpose of from [rows, cols], zero in the padding.
HWY_INLINE HWY_MAYBE_UNUSED void transpose_tile(const float* HWY_RESTRICT from, int64_t stride, int64_t rows,
                                                int64_t cols, float* HWY_RESTRICT to, int64_t padded) {
  const int64_t block_rows = rows / 4 * 4;
  int64_t j = 0;
  for (; j + 4 <= cols; j += 4) {
    for (int64_t i = 0; i < block_rows; i += 4)
      transpose_block(from + i * stride + j, stride, to + j * padded + i, padded);
  }
  for (; j < cols; ++j) {
    for (int64_t i = 0; i < block_rows; ++i) to[j * padded + i] = from[i * stride + j];
  }
  for (j = 0; j < cols; ++j) {
    for (int64_t i = block_rows; i < rows; ++i) to[j * padded + i] = from[i * stride + j];
    for (int64_t i = rows; i < padded; ++i) to[j * padded + i] = 0;
  }
}

}  // namespace subspect::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
