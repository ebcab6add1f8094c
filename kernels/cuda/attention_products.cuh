// The two matrix products of attention, on fragments that are laid out as the accumulators of mma.m16n8k16: entry e of
// fragment (m, n) of a lane is row 16 m + lane / 4 + 8 (e / 2) and column 8 n + 2 (lane % 4) + e % 2 of a warp's block.
// bfloat16 uses tensor cores; float32 the same layout with multiply-adds in float32, never TF32.
#pragma once

#include "kernels/cuda/ptx.cuh"

namespace subspect::kernels::gpu {

/// Sums of a warp: M x N fragments of 16 x 8.
template <int M, int N>
using Fragments = float[M][N][4];

/// Elements from one row to the next of a tile [rows, D] in shared memory. The padding of 16 bytes makes the stride an
/// odd number of 16-byte units, so that eight rows at one column lie in different banks.
template <class T, int D>
inline constexpr int row_stride = D + widest<T>;

template <int M, int N>
GPU_DEVICE void clear(Fragments<M, N>& sums) {
  GPU_UNROLL
  for (int m = 0; m < M; ++m) {
    GPU_UNROLL
    for (int n = 0; n < N; ++n) {
      GPU_UNROLL
      for (int e = 0; e < 4; ++e) sums[m][n][e] = 0;
    }
  }
}

GPU_DEVICE int lane_index() {
  return static_cast<int>(threadIdx.x) % warp_size;
}
GPU_DEVICE int warp_index() {
  return static_cast<int>(threadIdx.x) / warp_size;
}

/// Row and column of entry 0 of a lane's fragments.
GPU_DEVICE int fragment_row() {
  return lane_index() / 4;
}
GPU_DEVICE int fragment_col() {
  return 2 * (lane_index() % 4);
}

template <class T, int D>
struct Products;

template <int D>
struct Products<bfloat16, D> {
  static constexpr int stride = row_stride<bfloat16, D>;

  /// sums = a b^T for a [16 M, D] and b [8 N, D] in shared memory.
  template <int M, int N>
  GPU_DEVICE static void rows_by_rows(Fragments<M, N>& sums, const bfloat16* a, const bfloat16* b) {
    const int lane = lane_index();
    const bfloat16* a_row = a + lane % 16 * stride + lane / 16 * 8;
    const bfloat16* b_row = b + (lane % 8 + lane / 16 * 8) * stride + lane / 8 % 2 * 8;
    clear(sums);
    GPU_UNROLL
    for (int k = 0; k < D; k += 16) {
      uint32_t left[M][4];
      GPU_UNROLL
      for (int m = 0; m < M; ++m) ldmatrix_x4(left[m], a_row + 16 * m * stride + k);
      GPU_UNROLL
      for (int n = 0; n < N; n += 2) {
        uint32_t right[4];
        ldmatrix_x4(right, b_row + 8 * n * stride + k);
        multiply_pair(sums, left, right, n);
      }
    }
  }

  /// sums += w b for w [16 M, 8 K] in fragments, rounded to bfloat16, and b [8 K, D] in shared memory.
  template <int M, int K>
  GPU_DEVICE static void weights_by_rows(Fragments<M, D / 8>& sums, const Fragments<M, K>& w, const bfloat16* b) {
    const int lane = lane_index();
    const bfloat16* b_row = b + lane % 16 * stride + lane / 16 * 8;
    GPU_UNROLL
    for (int k = 0; k < K; k += 2) {
      uint32_t left[M][4];
      GPU_UNROLL
      for (int m = 0; m < M; ++m) {
        left[m][0] = pack_bf16(w[m][k][0], w[m][k][1]);
        left[m][1] = pack_bf16(w[m][k][2], w[m][k][3]);
        left[m][2] = pack_bf16(w[m][k + 1][0], w[m][k + 1][1]);
        left[m][3] = pack_bf16(w[m][k + 1][2], w[m][k + 1][3]);
      }
      GPU_UNROLL
      for (int n = 0; n < D / 8; n += 2) {
        uint32_t right[4];
        ldmatrix_x4_trans(right, b_row + 8 * k * stride + 8 * n);
        multiply_pair(sums, left, right, n);
      }
    }
  }

 private:
  /// Adds the products with 16 x 16 entries of the right factor to fragments n and n + 1.
  template <int M, int N>
  GPU_DEVICE static void multiply_pair(Fragments<M, N>& sums, const uint32_t (&left)[M][4], const uint32_t (&right)[4],
                                       int n) {
    const uint32_t first[2] = {right[0], right[1]};
    const uint32_t second[2] = {right[2], right[3]};
    GPU_UNROLL
    for (int m = 0; m < M; ++m) {
      mma_m16n8k16(sums[m][n], left[m], first);
      mma_m16n8k16(sums[m][n + 1], left[m], second);
    }
  }
};

template <int D>
struct Products<float, D> {
  static constexpr int stride = row_stride<float, D>;

  template <int M, int N>
  GPU_DEVICE static void rows_by_rows(Fragments<M, N>& sums, const float* a, const float* b) {
    static_assert(M == 1, "one fragment of rows to a warp");
    const float* a_row = a + fragment_row() * stride;
    const float* b_row = b + fragment_col() * stride;
    clear(sums);
    GPU_NO_UNROLL
    for (int k = 0; k < D; k += 4) {
      const Floats<4> upper = load<4>(a_row + k);
      const Floats<4> lower = load<4>(a_row + 8 * stride + k);
      GPU_UNROLL
      for (int n = 0; n < N; ++n) {
        const Floats<4> left = load<4>(b_row + 8 * n * stride + k);
        const Floats<4> right = load<4>(b_row + (8 * n + 1) * stride + k);
        GPU_UNROLL
        for (int i = 0; i < 4; ++i) {
          sums[0][n][0] += upper.value[i] * left.value[i];
          sums[0][n][1] += upper.value[i] * right.value[i];
          sums[0][n][2] += lower.value[i] * left.value[i];
          sums[0][n][3] += lower.value[i] * right.value[i];
        }
      }
    }
  }

  /// A row's weights are spread over four lanes: each is shuffled to all of them in turn.
  template <int M, int K>
  GPU_DEVICE static void weights_by_rows(Fragments<M, D / 8>& sums, const Fragments<M, K>& w, const float* b) {
    static_assert(M == 1, "one fragment of rows to a warp");
    const int first_lane = lane_index() / 4 * 4;
    const float* b_col = b + fragment_col();
    GPU_UNROLL
    for (int k = 0; k < K; ++k) {
      GPU_UNROLL
      for (int i = 0; i < 8; ++i) {
        const float upper = shuffle(full_warp, w[0][k][i % 2], first_lane + i / 2);
        const float lower = shuffle(full_warp, w[0][k][2 + i % 2], first_lane + i / 2);
        GPU_UNROLL
        for (int n = 0; n < D / 8; ++n) {
          const Floats<2> right = load<2>(b_col + (8 * k + i) * stride + 8 * n);
          sums[0][n][0] += upper * right.value[0];
          sums[0][n][1] += upper * right.value[1];
          sums[0][n][2] += lower * right.value[0];
          sums[0][n][3] += lower * right.value[1];
        }
      }
    }
  }
};

}  // namespace subspect::kernels::gpu
