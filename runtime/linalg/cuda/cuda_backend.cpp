// cuBLAS and cuSOLVER. Both read row-major matrices as column-major transposes: our lower triangle is their upper one,
// and eigenvectors in their columns are our rows. Products in float32 are pedantic: no TF32, no emulation.
#include <cublas_v2.h>
#include <cusolverDn.h>

#include <algorithm>
#include <memory>
#include <string_view>
#include <vector>

#include "kernels/linalg.h"
#include "runtime/error.h"
#include "runtime/gpu_queue.h"
#include "runtime/linalg/backend.h"

namespace subspect::runtime::linalg {

namespace {

using kernels::Cuda;

void check(cublasStatus_t status, std::string_view call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(fmt::format("{}: {}", call, cublasGetStatusString(status)), "cuBLAS",
              "see `subspect doctor`; --device cpu does without");
}

void check(cusolverStatus_t status, std::string_view call) {
  if (status == CUSOLVER_STATUS_SUCCESS) return;
  throw Error(fmt::format("{} failed with status {}", call, static_cast<int>(status)), "cuSOLVER",
              "see `subspect doctor`; --device cpu does without");
}

/// The handles of one stream, made when they are first needed and kept with it.
struct Handles {
  cublasHandle_t blas = nullptr;
  cusolverDnHandle_t solver = nullptr;
  cusolverDnParams_t parameters = nullptr;

  explicit Handles(cudaStream_t stream) {
    check(cublasCreate(&blas), "cublasCreate");
    check(cublasSetStream(blas, stream), "cublasSetStream");
    check(cusolverDnCreate(&solver), "cusolverDnCreate");
    check(cusolverDnSetStream(solver, stream), "cusolverDnSetStream");
    check(cusolverDnCreateParams(&parameters), "cusolverDnCreateParams");
  }
  ~Handles() {
    if (parameters != nullptr) static_cast<void>(cusolverDnDestroyParams(parameters));
    if (solver != nullptr) static_cast<void>(cusolverDnDestroy(solver));
    if (blas != nullptr) static_cast<void>(cublasDestroy(blas));
  }
  Handles(const Handles&) = delete;
  Handles& operator=(const Handles&) = delete;
};

Handles& handles_of(Stream& stream) {
  std::shared_ptr<void>& attached = stream.gpu()->attachment();
  if (!attached) attached = std::make_shared<Handles>(stream.context<Cuda>().stream);
  return *static_cast<Handles*>(attached.get());
}

/// Device and host workspaces of a cuSOLVER call, and its `info`.
class Workspace {
 public:
  Workspace(Stream& stream, size_t device_bytes, size_t host_bytes, int64_t matrices = 1)
      : stream_(stream),
        device_(Tensor::empty(stream, {std::max<int64_t>(1, static_cast<int64_t>(device_bytes))}, DType::uint8)),
        host_(std::max<size_t>(1, host_bytes)),
        info_(Tensor::zeros(stream, {matrices}, DType::int32)) {}

  void* device() const { return device_.raw(); }
  size_t device_bytes() const { return static_cast<size_t>(device_.bytes()); }
  void* host() { return host_.data(); }
  size_t host_bytes() const { return host_.size(); }
  int* info() const { return info_.data<int32_t>(); }

  /// Waits for the call; by matrix whether it worked. A negative info, an argument refused, is an Error.
  std::vector<bool> results(std::string_view call) {
    std::vector<bool> good;
    for (const int info : info_.to_host<int32_t>(stream_)) {
      if (info < 0) throw Error(fmt::format("{} refused its argument {}", call, -info), "cuSOLVER", "report this");
      good.push_back(info == 0);
    }
    return good;
  }
  /// The same of a call for one matrix.
  bool succeeded(std::string_view call) { return results(call)[0]; }

 private:
  Stream& stream_;
  Tensor device_;
  std::vector<char> host_;
  Tensor info_;
};

cublasOperation_t to_cublas(Op op) {
  return op == Op::none ? CUBLAS_OP_N : CUBLAS_OP_T;
}

int to_int(int64_t value) {
  return static_cast<int>(value);
}

/// Rows of op(x), and their length.
template <class T>
std::pair<int64_t, int64_t> shape_of(Op op, const MatrixRef<T>& x) {
  return op == Op::none ? std::pair(x.rows, x.cols) : std::pair(x.cols, x.rows);
}

void transpose(Stream& stream, const double* x, int64_t rows, int64_t cols, double* y) {
  kernels::transpose<Cuda, double>(stream.context<Cuda>(), x, rows, cols, y);
}

class CudaBackend final : public Backend, public BatchedEigen {
 public:
  void multiply(Stream& stream, const Product<float>& p) const override;
  void multiply(Stream& stream, const Product<double>& p) const override;
  void accumulate_gram(Stream& stream, Op op, DoubleMatrix x, bool first, double* out) const override;
  void solve_lower(Stream& stream, Op op, const double* lower, MatrixRef<double> x) const override;
  bool cholesky(Stream& stream, double* matrix, int64_t n) const override;
  bool eigen(Stream& stream, double* matrix, int64_t n, int64_t count, double* values) const override;
  const BatchedEigen* batched_eigen() const override { return this; }
  std::vector<bool> eigen_batch(Stream& stream, double* matrices, int64_t n, int64_t count,
                                double* values) const override;
  bool svd(Stream& stream, MatrixRef<double> x, double* values, double* left) const override;
  void householder(Stream& stream, MatrixRef<double> rows) const override;
};

void CudaBackend::multiply(Stream& stream, const Product<float>& p) const {
  if (p.c.rows == 0 || p.c.cols == 0) return;
  const ActiveGpu active(stream);
  const auto alpha = static_cast<float>(p.scale.alpha);
  const auto beta = static_cast<float>(p.scale.beta);
  check(cublasGemmEx(handles_of(stream).blas, to_cublas(p.op_b), to_cublas(p.op_a), to_int(p.c.cols), to_int(p.c.rows),
                     to_int(shape_of(p.op_a, p.a).second), &alpha, p.b.data, CUDA_R_32F, to_int(p.b.stride), p.a.data,
                     CUDA_R_32F, to_int(p.a.stride), &beta, p.c.data, CUDA_R_32F, to_int(p.c.stride),
                     CUBLAS_COMPUTE_32F_PEDANTIC, CUBLAS_GEMM_DEFAULT),
        "cublasGemmEx");
}

void CudaBackend::multiply(Stream& stream, const Product<double>& p) const {
  if (p.c.rows == 0 || p.c.cols == 0) return;
  const ActiveGpu active(stream);
  check(cublasDgemm(handles_of(stream).blas, to_cublas(p.op_b), to_cublas(p.op_a), to_int(p.c.cols), to_int(p.c.rows),
                    to_int(shape_of(p.op_a, p.a).second), &p.scale.alpha, p.b.data, to_int(p.b.stride), p.a.data,
                    to_int(p.a.stride), &p.scale.beta, p.c.data, to_int(p.c.stride)),
        "cublasDgemm");
}

void CudaBackend::accumulate_gram(Stream& stream, Op op, DoubleMatrix x, bool first, double* out) const {
  const auto [n, depth] = shape_of(op, x);
  if (n == 0) return;
  const ActiveGpu active(stream);
  const double one = 1.0;
  const double beta = first ? 0.0 : 1.0;
  check(cublasDsyrk(handles_of(stream).blas, CUBLAS_FILL_MODE_UPPER, op == Op::none ? CUBLAS_OP_T : CUBLAS_OP_N,
                    to_int(n), to_int(depth), &one, x.data, to_int(x.stride), &beta, out, to_int(n)),
        "cublasDsyrk");
}

void CudaBackend::solve_lower(Stream& stream, Op op, const double* lower, MatrixRef<double> x) const {
  if (x.rows == 0 || x.cols == 0) return;
  const ActiveGpu active(stream);
  const double one = 1.0;
  // L x = b reads as x^T L^T = b^T, with L^T stored as an upper triangle.
  check(cublasDtrsm(handles_of(stream).blas, CUBLAS_SIDE_RIGHT, CUBLAS_FILL_MODE_UPPER, to_cublas(op),
                    CUBLAS_DIAG_NON_UNIT, to_int(x.cols), to_int(x.rows), &one, lower, to_int(x.rows), x.data,
                    to_int(x.stride)),
        "cublasDtrsm");
}

bool CudaBackend::cholesky(Stream& stream, double* matrix, int64_t n) const {
  const ActiveGpu active(stream);
  const Handles& handles = handles_of(stream);
  size_t device_bytes = 0;
  size_t host_bytes = 0;
  check(cusolverDnXpotrf_bufferSize(handles.solver, handles.parameters, CUBLAS_FILL_MODE_UPPER, n, CUDA_R_64F, matrix,
                                    n, CUDA_R_64F, &device_bytes, &host_bytes),
        "cusolverDnXpotrf_bufferSize");
  Workspace work(stream, device_bytes, host_bytes);
  check(cusolverDnXpotrf(handles.solver, handles.parameters, CUBLAS_FILL_MODE_UPPER, n, CUDA_R_64F, matrix, n,
                         CUDA_R_64F, work.device(), work.device_bytes(), work.host(), work.host_bytes(), work.info()),
        "cusolverDnXpotrf");
  return work.succeeded("cusolverDnXpotrf");
}

/// All eigenvalues of matrix [n, n] into `found`, on the device, and its eigenvectors in place.
bool all_eigen(Stream& stream, const Handles& handles, double* matrix, int64_t n, const Tensor& found) {
  size_t device_bytes = 0;
  size_t host_bytes = 0;
  check(cusolverDnXsyevd_bufferSize(handles.solver, handles.parameters, CUSOLVER_EIG_MODE_VECTOR,
                                    CUBLAS_FILL_MODE_UPPER, n, CUDA_R_64F, matrix, n, CUDA_R_64F, found.raw(),
                                    CUDA_R_64F, &device_bytes, &host_bytes),
        "cusolverDnXsyevd_bufferSize");
  Workspace work(stream, device_bytes, host_bytes);
  check(cusolverDnXsyevd(handles.solver, handles.parameters, CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_UPPER, n,
                         CUDA_R_64F, matrix, n, CUDA_R_64F, found.raw(), CUDA_R_64F, work.device(), work.device_bytes(),
                         work.host(), work.host_bytes(), work.info()),
        "cusolverDnXsyevd");
  return work.succeeded("cusolverDnXsyevd");
}

/// The same for the `count` largest ones.
bool leading_eigen(Stream& stream, const Handles& handles, double* matrix, int64_t n, int64_t count,
                   const Tensor& found) {
  const int64_t first = n - count + 1;
  int64_t written = 0;
  size_t device_bytes = 0;
  size_t host_bytes = 0;
  check(cusolverDnXsyevdx_bufferSize(handles.solver, handles.parameters, CUSOLVER_EIG_MODE_VECTOR, CUSOLVER_EIG_RANGE_I,
                                     CUBLAS_FILL_MODE_UPPER, n, CUDA_R_64F, matrix, n, nullptr, nullptr, first, n,
                                     &written, CUDA_R_64F, found.raw(), CUDA_R_64F, &device_bytes, &host_bytes),
        "cusolverDnXsyevdx_bufferSize");
  Workspace work(stream, device_bytes, host_bytes);
  check(cusolverDnXsyevdx(handles.solver, handles.parameters, CUSOLVER_EIG_MODE_VECTOR, CUSOLVER_EIG_RANGE_I,
                          CUBLAS_FILL_MODE_UPPER, n, CUDA_R_64F, matrix, n, nullptr, nullptr, first, n, &written,
                          CUDA_R_64F, found.raw(), CUDA_R_64F, work.device(), work.device_bytes(), work.host(),
                          work.host_bytes(), work.info()),
        "cusolverDnXsyevdx");
  return work.succeeded("cusolverDnXsyevdx") && written == count;
}

bool CudaBackend::eigen(Stream& stream, double* matrix, int64_t n, int64_t count, double* values) const {
  const ActiveGpu active(stream);
  const Handles& handles = handles_of(stream);
  const Tensor found = Tensor::empty(stream, {n}, DType::float64);  // room for all, whatever is asked for
  const bool good = count < n ? leading_eigen(stream, handles, matrix, n, count, found)
                              : all_eigen(stream, handles, matrix, n, found);
  if (good) stream.copy_to_host(values, found.raw(), count * static_cast<int64_t>(sizeof(double)));
  return good;
}

std::vector<bool> CudaBackend::eigen_batch(Stream& stream, double* matrices, int64_t n, int64_t count,
                                           double* values) const {
  const ActiveGpu active(stream);
  const Handles& handles = handles_of(stream);
  const Tensor found = Tensor::empty(stream, {count, n}, DType::float64);
  size_t device_bytes = 0;
  size_t host_bytes = 0;
  check(cusolverDnXsyevBatched_bufferSize(handles.solver, handles.parameters, CUSOLVER_EIG_MODE_VECTOR,
                                          CUBLAS_FILL_MODE_UPPER, n, CUDA_R_64F, matrices, n, CUDA_R_64F, found.raw(),
                                          CUDA_R_64F, &device_bytes, &host_bytes, count),
        "cusolverDnXsyevBatched_bufferSize");
  Workspace work(stream, device_bytes, host_bytes, count);
  check(cusolverDnXsyevBatched(handles.solver, handles.parameters, CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_UPPER, n,
                               CUDA_R_64F, matrices, n, CUDA_R_64F, found.raw(), CUDA_R_64F, work.device(),
                               work.device_bytes(), work.host(), work.host_bytes(), work.info(), count),
        "cusolverDnXsyevBatched");
  std::vector<bool> good = work.results("cusolverDnXsyevBatched");
  stream.copy_to_host(values, found.raw(), found.bytes());
  return good;
}

bool CudaBackend::svd(Stream& stream, MatrixRef<double> x, double* values, double* left) const {
  const ActiveGpu active(stream);
  const Handles& handles = handles_of(stream);
  // gesvd wants at least as many rows as columns, in its order: a wide x as it lies is such, a tall one transposed.
  const bool tall = x.rows > x.cols;
  const int64_t m = std::max(x.rows, x.cols);
  const int64_t n = std::min(x.rows, x.cols);
  Tensor flipped;
  if (tall) {
    require(x.stride == x.cols, "svd", "a contiguous matrix is required. Received a stride of {}", x.stride);
    flipped = Tensor::empty(stream, {x.cols, x.rows}, DType::float64);
    transpose(stream, x.data, x.rows, x.cols, flipped.data<double>());
  }
  double* a = tall ? flipped.data<double>() : x.data;
  const int64_t stride = tall ? m : x.stride;
  const Tensor found = Tensor::empty(stream, {n}, DType::float64);
  // The left vectors of x are gesvd's right ones (vt, of n rows) where x is wide, its left ones where it is tall.
  const Tensor vt = left != nullptr && !tall ? Tensor::empty(stream, {n, n}, DType::float64) : Tensor();
  const signed char job_u = left != nullptr && tall ? 'S' : 'N';
  const signed char job_vt = vt.defined() ? 'S' : 'N';
  double* u = job_u == 'S' ? left : nullptr;
  size_t device_bytes = 0;
  size_t host_bytes = 0;
  check(cusolverDnXgesvd_bufferSize(handles.solver, handles.parameters, job_u, job_vt, m, n, CUDA_R_64F, a, stride,
                                    CUDA_R_64F, found.raw(), CUDA_R_64F, u, m, CUDA_R_64F, vt.raw(), n, CUDA_R_64F,
                                    &device_bytes, &host_bytes),
        "cusolverDnXgesvd_bufferSize");
  Workspace work(stream, device_bytes, host_bytes);
  check(cusolverDnXgesvd(handles.solver, handles.parameters, job_u, job_vt, m, n, CUDA_R_64F, a, stride, CUDA_R_64F,
                         found.raw(), CUDA_R_64F, u, m, CUDA_R_64F, vt.raw(), n, CUDA_R_64F, work.device(),
                         work.device_bytes(), work.host(), work.host_bytes(), work.info()),
        "cusolverDnXgesvd");
  if (!work.succeeded("cusolverDnXgesvd")) return false;
  stream.copy_to_host(values, found.raw(), found.bytes());
  if (vt.defined()) transpose(stream, vt.data<double>(), n, n, left);
  return true;
}

void CudaBackend::householder(Stream& stream, MatrixRef<double> rows) const {
  const ActiveGpu active(stream);
  const Handles& handles = handles_of(stream);
  const int64_t m = rows.cols;
  const int64_t k = rows.rows;
  const Tensor tau = Tensor::empty(stream, {k}, DType::float64);
  size_t device_bytes = 0;
  size_t host_bytes = 0;
  check(cusolverDnXgeqrf_bufferSize(handles.solver, handles.parameters, m, k, CUDA_R_64F, rows.data, rows.stride,
                                    CUDA_R_64F, tau.raw(), CUDA_R_64F, &device_bytes, &host_bytes),
        "cusolverDnXgeqrf_bufferSize");
  int orgqr_length = 0;
  check(cusolverDnDorgqr_bufferSize(handles.solver, to_int(m), to_int(k), to_int(k), rows.data, to_int(rows.stride),
                                    tau.data<double>(), &orgqr_length),
        "cusolverDnDorgqr_bufferSize");
  Workspace work(stream, std::max(device_bytes, static_cast<size_t>(orgqr_length) * sizeof(double)), host_bytes);
  check(cusolverDnXgeqrf(handles.solver, handles.parameters, m, k, CUDA_R_64F, rows.data, rows.stride, CUDA_R_64F,
                         tau.raw(), CUDA_R_64F, work.device(), work.device_bytes(), work.host(), work.host_bytes(),
                         work.info()),
        "cusolverDnXgeqrf");
  static_cast<void>(work.succeeded("cusolverDnXgeqrf"));
  check(cusolverDnDorgqr(handles.solver, to_int(m), to_int(k), to_int(k), rows.data, to_int(rows.stride),
                         tau.data<double>(), static_cast<double*>(work.device()), orgqr_length, work.info()),
        "cusolverDnDorgqr");
  static_cast<void>(work.succeeded("cusolverDnDorgqr"));
}

}  // namespace

template <>
const Backend& backend<kernels::Cuda>() {
  static const CudaBackend instance;
  return instance;
}

}  // namespace subspect::runtime::linalg
