// OpenBLAS and LAPACKE. Products are cut into tiles of fixed size, each one BLAS call on one thread, so that the bits
// do not depend on the number of threads.
#include <cblas.h>
#include <lapacke.h>

#include <algorithm>
#include <vector>

#include "kernels/thread_team.h"
#include "runtime/error.h"
#include "runtime/linalg/backend.h"
#include "runtime/linalg/lapack.h"

namespace subspect::runtime::linalg {

namespace {

using kernels::Cpu;

constexpr int64_t tile_rows = 256;
constexpr int64_t tile_cols = 1024;
constexpr int64_t gram_tile = 256;
constexpr int64_t solve_strip = 128;

kernels::ThreadTeam& team_of(Stream& stream) {
  use_single_threaded_blas();
  return *stream.context<Cpu>().team;
}

CBLAS_TRANSPOSE to_cblas(Op op) {
  return op == Op::none ? CblasNoTrans : CblasTrans;
}

int to_int(int64_t value) {
  return static_cast<int>(value);
}

/// One product on the calling thread; a depth of 0 only scales c.
void gemm(const Product<float>& p) {
  const int64_t depth = p.op_a == Op::none ? p.a.cols : p.a.rows;
  cblas_sgemm(CblasRowMajor, to_cblas(p.op_a), to_cblas(p.op_b), to_int(p.c.rows), to_int(p.c.cols), to_int(depth),
              static_cast<float>(p.scale.alpha), p.a.data, to_int(p.a.stride), p.b.data, to_int(p.b.stride),
              static_cast<float>(p.scale.beta), p.c.data, to_int(p.c.stride));
}

void gemm(const Product<double>& p) {
  const int64_t depth = p.op_a == Op::none ? p.a.cols : p.a.rows;
  cblas_dgemm(CblasRowMajor, to_cblas(p.op_a), to_cblas(p.op_b), to_int(p.c.rows), to_int(p.c.cols), to_int(depth),
              p.scale.alpha, p.a.data, to_int(p.a.stride), p.b.data, to_int(p.b.stride), p.scale.beta, p.c.data,
              to_int(p.c.stride));
}

/// Rows [begin, begin + count) of op(x), as the x that op is applied to.
template <class T>
MatrixRef<const T> rows_of(Op op, MatrixRef<const T> x, int64_t begin, int64_t count) {
  if (op == Op::none) return {x.data + begin * x.stride, count, x.cols, x.stride};
  return {x.data + begin, x.rows, count, x.stride};
}

Op other(Op op) {
  return op == Op::none ? Op::transpose : Op::none;
}

template <class T>
void multiply_tiled(Stream& stream, const Product<T>& p) {
  if (p.c.rows == 0 || p.c.cols == 0) return;
  const int64_t tiles_down = (p.c.rows + tile_rows - 1) / tile_rows;
  const int64_t tiles_across = (p.c.cols + tile_cols - 1) / tile_cols;
  team_of(stream).for_each_chunk(tiles_down * tiles_across, [&](int64_t tile) {
    const int64_t i = tile / tiles_across * tile_rows;
    const int64_t j = tile % tiles_across * tile_cols;
    const int64_t rows = std::min(tile_rows, p.c.rows - i);
    const int64_t cols = std::min(tile_cols, p.c.cols - j);
    Product<T> part = p;
    part.a = rows_of(p.op_a, p.a, i, rows);
    part.b = rows_of(other(p.op_b), p.b, j, cols);  // columns of op(b) are rows of its transpose
    part.c = MatrixRef<T>(p.c.data + i * p.c.stride + j, rows, cols, p.c.stride);
    gemm(part);
  });
}

class CpuBackend final : public Backend {
 public:
  void multiply(Stream& stream, const Product<float>& p) const override;
  void multiply(Stream& stream, const Product<double>& p) const override;
  void accumulate_gram(Stream& stream, Op op, DoubleMatrix x, bool first, double* out) const override;
  void solve_lower(Stream& stream, Op op, const double* lower, MatrixRef<double> x) const override;
  bool cholesky(Stream& stream, double* matrix, int64_t n) const override;
  bool eigen(Stream& stream, double* matrix, int64_t n, int64_t count, double* values) const override;
  bool svd(Stream& stream, MatrixRef<double> x, double* values, double* left) const override;
  void householder(Stream& stream, MatrixRef<double> rows) const override;
};

void CpuBackend::multiply(Stream& stream, const Product<float>& p) const {
  multiply_tiled(stream, p);
}

void CpuBackend::multiply(Stream& stream, const Product<double>& p) const {
  multiply_tiled(stream, p);
}

void CpuBackend::accumulate_gram(Stream& stream, Op op, DoubleMatrix x, bool first, double* out) const {
  const int64_t n = op == Op::none ? x.rows : x.cols;
  const int64_t tiles = (n + gram_tile - 1) / gram_tile;
  team_of(stream).for_each_chunk(tiles * tiles, [&](int64_t tile) {
    const int64_t i = tile / tiles * gram_tile;
    const int64_t j = tile % tiles * gram_tile;
    if (j > i) return;
    const int64_t rows = std::min(gram_tile, n - i);
    const int64_t cols = std::min(gram_tile, n - j);
    gemm(Product<double>{.op_a = op,
                         .a = rows_of(op, x, i, rows),
                         .op_b = other(op),
                         .b = rows_of(op, x, j, cols),
                         .c = MatrixRef<double>(out + i * n + j, rows, cols, n),
                         .scale = {1.0, first ? 0.0 : 1.0}});
  });
}

void CpuBackend::solve_lower(Stream& stream, Op op, const double* lower, MatrixRef<double> x) const {
  team_of(stream).for_each_range(x.cols, solve_strip, [&](int64_t begin, int64_t end) {
    cblas_dtrsm(CblasRowMajor, CblasLeft, CblasLower, to_cblas(op), CblasNonUnit, to_int(x.rows), to_int(end - begin),
                1.0, lower, to_int(x.rows), x.data + begin, to_int(x.stride));
  });
}

// LAPACK below takes row-major matrices as column-major transposes: our lower triangle is its upper one.

bool CpuBackend::cholesky(Stream& /*stream*/, double* matrix, int64_t n) const {
  use_single_threaded_blas();
  return LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'U', to_int(n), matrix, to_int(n)) == 0;
}

bool CpuBackend::eigen(Stream& /*stream*/, double* matrix, int64_t n, int64_t count, double* values) const {
  return symmetric_eigen(matrix, n, count, values);
}

bool CpuBackend::svd(Stream& stream, MatrixRef<double> x, double* values, double* left) const {
  use_single_threaded_blas();
  // x^T = W S U^T: LAPACK's "vt" is U^T, column-major [side, rows].
  const auto m = to_int(x.cols);
  const auto n = to_int(x.rows);
  const int64_t side = std::min(x.rows, x.cols);
  if (left == nullptr) {
    double unused = 0.0;
    return LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'N', m, n, x.data, to_int(x.stride), values, &unused, 1, &unused, 1) == 0;
  }
  std::vector<double> right(static_cast<size_t>(x.cols * side));
  std::vector<double> vt(static_cast<size_t>(side * x.rows));
  if (LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'S', m, n, x.data, to_int(x.stride), values, right.data(), m, vt.data(),
                     to_int(side)) != 0) {
    return false;
  }
  team_of(stream).for_each_range(side, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = 0; j < x.rows; ++j) left[i * x.rows + j] = vt[static_cast<size_t>(j * side + i)];
    }
  });
  return true;
}

void CpuBackend::householder(Stream& /*stream*/, MatrixRef<double> rows) const {
  use_single_threaded_blas();
  std::vector<double> tau(static_cast<size_t>(rows.rows));
  const auto m = to_int(rows.cols);
  const auto k = to_int(rows.rows);
  const auto stride = to_int(rows.stride);
  lapack_int info = LAPACKE_dgeqrf(LAPACK_COL_MAJOR, m, k, rows.data, stride, tau.data());
  if (info == 0) info = LAPACKE_dorgqr(LAPACK_COL_MAJOR, m, k, k, rows.data, stride, tau.data());
  if (info != 0) {
    throw Error(fmt::format("QR factorisation of {} vectors of length {} failed with info {}", k, m, info), "LAPACK",
                "check the LAPACK library");
  }
}

}  // namespace

template <>
const Backend& backend<kernels::Cpu>() {
  static const CpuBackend instance;
  return instance;
}

}  // namespace subspect::runtime::linalg
