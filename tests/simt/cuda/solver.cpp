// cuSOLVER over LAPACKE. Workspaces must be as large as the query says, and are overwritten; `info` is written on the
// device when the work runs.
#include <cusolverDn.h>
#include <lapacke.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "tests/simt/cuda/blas.h"

using namespace emulated;

struct cusolverDnContext {
  cudaStream_t stream = nullptr;
};

struct cusolverDnParams {};

namespace emulated {
namespace {

struct Bytes {
  size_t device = 0;
  size_t host = 0;
};

struct Workspace {
  void* device = nullptr;
  size_t device_bytes = 0;
  void* host = nullptr;
  size_t host_bytes = 0;
  int* info = nullptr;
};

template <class Body>
cusolverStatus_t solver_call(const char* name, const Body& body) {
  const std::lock_guard lock(device().mutex);
  int status = 0;
  if (planned_failure(name, &status)) return static_cast<cusolverStatus_t>(status);
  if (!device().fault.empty()) return CUSOLVER_STATUS_EXECUTION_FAILED;
  return body();
}

/// Whether all matrices have the type that is computed in, float32 or float64.
bool one_type(std::initializer_list<cudaDataType> types) {
  const cudaDataType first = *types.begin();
  return (first == CUDA_R_32F || first == CUDA_R_64F) &&
         std::all_of(types.begin(), types.end(), [&](cudaDataType type) { return type == first; });
}

bool bad_matrix(const void* data, int64_t rows, int64_t cols, int64_t stride) {
  return rows < 0 || cols < 0 || rows > INT32_MAX || cols > INT32_MAX || stride < std::max<int64_t>(rows, 1) ||
         (data == nullptr && rows > 0 && cols > 0);
}

Matrix matrix(const void* data, cudaDataType type, int64_t rows, int64_t cols, int64_t stride) {
  return {data, type, static_cast<size_t>(rows), static_cast<size_t>(cols), static_cast<size_t>(stride)};
}

Matrix vector(const void* data, cudaDataType type, int64_t count) {
  return matrix(data, type, count, 1, count);
}

int whole(size_t number) {
  return static_cast<int>(number);
}

template <class T>
T* elements(const Matrix& m) {
  return static_cast<T*>(const_cast<void*>(m.data));
}

bool all_finite(const Matrix& m) {
  const std::vector<double> values = read_matrix(m);
  return std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); });
}

/// Of the triangle with its diagonal; nothing else of the matrix is read.
bool triangle_is_finite(const Matrix& m, bool lower) {
  const std::vector<double> values = read_matrix(m);
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t row = i % m.rows;
    const size_t col = i / m.rows;
    if ((lower ? row >= col : row <= col) && !std::isfinite(values[i])) return false;
  }
  return true;
}

void fill_with_nan(const Matrix& m) {
  write_matrix(std::vector<double>(m.rows * m.cols, std::nan("")), m);
}

/// Reads and overwrites: what LAPACK does to the matrices that follow.
void touch_all(std::initializer_list<Matrix> matrices) {
  for (const Matrix& m : matrices) touch(m, simt::Access::write);
}

/// Queues `body`, which returns what goes to `info`.
template <class Body>
cusolverStatus_t queue_solver(cusolverDnHandle_t handle, const char* name, const Bytes& needs, const Workspace& given,
                              const Body& body) {
  if (handle == nullptr) return refuse(CUSOLVER_STATUS_NOT_INITIALIZED, "no handle");
  if (given.device_bytes < needs.device || given.host_bytes < needs.host) {
    return refuse(CUSOLVER_STATUS_INVALID_VALUE, "a workspace smaller than the query said");
  }
  if (reinterpret_cast<uintptr_t>(given.device) % 16 != 0 || given.info == nullptr) {
    return refuse(CUSOLVER_STATUS_INVALID_VALUE, "a workspace that is not aligned to 16 bytes, or no info");
  }
  CUstream_st* stream = nullptr;
  if (open_stream(handle->stream, &stream) != cudaSuccess) return CUSOLVER_STATUS_EXECUTION_FAILED;
  if (needs.host > 0) std::memset(given.host, 0xff, needs.host);
  enqueue(stream, name, [name, needs, given, body] {
    simt::begin_library_call(name);
    scribble(given.device, needs.device);
    const int info = body();
    scribble(given.device, needs.device);
    simt::access_device(given.info, sizeof(info), simt::Access::write);
    *given.info = info;
  });
  return CUSOLVER_STATUS_SUCCESS;
}

template <class Body>
auto with_real(cudaDataType type, const Body& body) {
  return type == CUDA_R_64F ? body(double()) : body(float());
}

// ---- LAPACKE by type

template <class T>
int syevd(char job, char uplo, const Matrix& a, const Matrix& w) {
  if constexpr (std::is_same_v<T, double>) {
    return LAPACKE_dsyevd(LAPACK_COL_MAJOR, job, uplo, whole(a.rows), elements<T>(a), whole(a.stride), elements<T>(w));
  } else {
    return LAPACKE_ssyevd(LAPACK_COL_MAJOR, job, uplo, whole(a.rows), elements<T>(a), whole(a.stride), elements<T>(w));
  }
}

template <class T>
int potrf(char uplo, const Matrix& a) {
  if constexpr (std::is_same_v<T, double>) {
    return LAPACKE_dpotrf(LAPACK_COL_MAJOR, uplo, whole(a.rows), elements<T>(a), whole(a.stride));
  } else {
    return LAPACKE_spotrf(LAPACK_COL_MAJOR, uplo, whole(a.rows), elements<T>(a), whole(a.stride));
  }
}

template <class T>
int geqrf(const Matrix& a, const Matrix& tau) {
  if constexpr (std::is_same_v<T, double>) {
    return LAPACKE_dgeqrf(LAPACK_COL_MAJOR, whole(a.rows), whole(a.cols), elements<T>(a), whole(a.stride),
                          elements<T>(tau));
  } else {
    return LAPACKE_sgeqrf(LAPACK_COL_MAJOR, whole(a.rows), whole(a.cols), elements<T>(a), whole(a.stride),
                          elements<T>(tau));
  }
}

template <class T>
int orgqr(const Matrix& a, int k, const Matrix& tau) {
  if constexpr (std::is_same_v<T, double>) {
    return LAPACKE_dorgqr(LAPACK_COL_MAJOR, whole(a.rows), whole(a.cols), k, elements<T>(a), whole(a.stride),
                          elements<T>(tau));
  } else {
    return LAPACKE_sorgqr(LAPACK_COL_MAJOR, whole(a.rows), whole(a.cols), k, elements<T>(a), whole(a.stride),
                          elements<T>(tau));
  }
}

struct Svd {
  char job_u;
  char job_vt;
  Matrix a, s, u, vt;
};

template <class T>
int gesvd(const Svd& d) {
  std::vector<T> unconverged(std::max<size_t>(d.s.rows, 1));
  if constexpr (std::is_same_v<T, double>) {
    return LAPACKE_dgesvd(LAPACK_COL_MAJOR, d.job_u, d.job_vt, whole(d.a.rows), whole(d.a.cols), elements<T>(d.a),
                          whole(d.a.stride), elements<T>(d.s), elements<T>(d.u), whole(d.u.stride), elements<T>(d.vt),
                          whole(d.vt.stride), unconverged.data());
  } else {
    return LAPACKE_sgesvd(LAPACK_COL_MAJOR, d.job_u, d.job_vt, whole(d.a.rows), whole(d.a.cols), elements<T>(d.a),
                          whole(d.a.stride), elements<T>(d.s), elements<T>(d.u), whole(d.u.stride), elements<T>(d.vt),
                          whole(d.vt.stride), unconverged.data());
  }
}

// ---- eigenvalues

struct Eigen {
  cusolverEigMode_t mode = CUSOLVER_EIG_MODE_VECTOR;
  cublasFillMode_t fill = CUBLAS_FILL_MODE_LOWER;
  Matrix a;
  Matrix w;
  int64_t first = 1;  ///< of the eigenvalues wanted, from 1
  int64_t last = 0;
};

Bytes eigen_bytes(const Matrix& a) {
  return {(2 * a.rows * a.rows + 6 * a.rows + 32) * element_bytes(a.type), 32 * a.rows + 16};
}

/// Keeps the eigenvalues and vectors that are wanted, at the front.
void keep_range(const Eigen& e) {
  const auto wanted = static_cast<size_t>(e.last - e.first + 1);
  const size_t bytes = element_bytes(e.a.type);
  const auto from = static_cast<size_t>(e.first - 1);
  auto* values = elements<std::byte>(e.w);
  std::memmove(values, values + from * bytes, wanted * bytes);
  auto* vectors = elements<std::byte>(e.a);
  std::memmove(vectors, vectors + from * e.a.stride * bytes, ((wanted - 1) * e.a.stride + e.a.rows) * bytes);
}

int run_eigen(const Eigen& e) {
  const bool usable = triangle_is_finite(e.a, e.fill == CUBLAS_FILL_MODE_LOWER);
  touch_all({e.a, e.w});
  if (!usable) {
    fill_with_nan(e.a);
    fill_with_nan(e.w);
    return 0;
  }
  const char job = e.mode == CUSOLVER_EIG_MODE_VECTOR ? 'V' : 'N';
  const char uplo = e.fill == CUBLAS_FILL_MODE_LOWER ? 'L' : 'U';
  const int info = with_real(e.a.type, [&]<class T>(T) { return syevd<T>(job, uplo, e.a, e.w); });
  if (info == 0 && (e.first != 1 || e.last != static_cast<int64_t>(e.a.rows))) keep_range(e);
  return info;
}

cusolverStatus_t queue_eigen(cusolverDnHandle_t handle, const char* name, const Eigen& e, const Workspace& given) {
  if (e.first < 1 || e.last > static_cast<int64_t>(e.a.rows) || e.first > e.last) {
    return refuse(CUSOLVER_STATUS_INVALID_VALUE, "a range of eigenvalues");
  }
  return queue_solver(handle, name, eigen_bytes(e.a), given, [e] { return run_eigen(e); });
}

// ---- singular values

Bytes svd_bytes(int64_t m, int64_t n, cudaDataType type) {
  const auto larger = static_cast<size_t>(std::max(m, n));
  const auto smaller = static_cast<size_t>(std::min(m, n));
  return {(larger * smaller + 8 * larger + 32) * element_bytes(type), 0};
}

int run_svd(const Svd& d) {
  const bool usable = all_finite(d.a);
  touch_all({d.a, d.s});
  if (d.job_u != 'N') touch(d.u, simt::Access::write);
  if (d.job_vt != 'N') touch(d.vt, simt::Access::write);
  if (usable) return with_real(d.a.type, [&]<class T>(T) { return gesvd<T>(d); });
  for (const Matrix& out : {d.s, d.job_u == 'N' ? d.s : d.u, d.job_vt == 'N' ? d.s : d.vt}) fill_with_nan(out);
  return 0;
}

bool bad_svd(const Svd& d) {
  const auto bad = [](char job, const Matrix& m) {
    return job != 'N' && bad_matrix(m.data, static_cast<int64_t>(m.rows), static_cast<int64_t>(m.cols),
                                    static_cast<int64_t>(m.stride));
  };
  const auto known = [](char job) { return job == 'A' || job == 'S' || job == 'N'; };
  return !known(d.job_u) || !known(d.job_vt) || bad('A', d.a) || bad('A', d.s) || bad(d.job_u, d.u) ||
         bad(d.job_vt, d.vt);
}

struct SvdArguments {
  int64_t m, n;
  cudaDataType type;
  void* a;
  int64_t lda;
  void* s;
  void* u;
  int64_t ldu;
  void* v;
  int64_t ldv;
};

Svd svd_of(const SvdArguments& g, char job_u, char job_vt) {
  const int64_t k = std::min(g.m, g.n);
  return {job_u,
          job_vt,
          matrix(g.a, g.type, g.m, g.n, g.lda),
          vector(g.s, g.type, k),
          matrix(g.u, g.type, g.m, job_u == 'S' ? k : g.m, std::max<int64_t>(g.ldu, 1)),
          matrix(g.v, g.type, job_vt == 'S' ? k : g.n, g.n, std::max<int64_t>(g.ldv, 1))};
}

/// gesvdp gives V by columns, LAPACK its transpose.
int run_polar_svd(Svd d, const Matrix& v) {
  const size_t bytes = element_bytes(d.a.type);
  std::vector<std::byte> transposed(d.vt.rows * d.vt.cols * bytes);
  const bool usable = all_finite(d.a);
  touch_all({d.a, d.s});
  const bool vectors = d.job_u != 'N';
  if (vectors) touch_all({d.u, v});
  if (!usable) {
    for (const Matrix& out : {d.s, vectors ? d.u : d.s, vectors ? v : d.s}) fill_with_nan(out);
    return 0;
  }
  d.vt.data = transposed.data();
  d.vt.stride = std::max<size_t>(d.vt.rows, 1);
  const int info = with_real(d.a.type, [&]<class T>(T) { return gesvd<T>(d); });
  if (!vectors) return info;
  for (size_t i = 0; i < v.rows; ++i) {
    for (size_t j = 0; j < v.cols; ++j) {
      std::memcpy(elements<std::byte>(v) + (j * v.stride + i) * bytes,
                  transposed.data() + (i * d.vt.stride + j) * bytes, bytes);
    }
  }
  return info;
}

// ---- factorisations

template <class T>
cusolverStatus_t queue_orgqr(cusolverDnHandle_t handle, const char* name, int m, int n, int k, T* a, int lda,
                             const T* tau, const Workspace& given, size_t needed) {
  if (m < 0 || n < 0 || n > m || k < 0 || k > n || bad_matrix(a, m, n, lda)) {
    return refuse(CUSOLVER_STATUS_INVALID_VALUE, "sizes or a leading dimension");
  }
  const cudaDataType type = std::is_same_v<T, double> ? CUDA_R_64F : CUDA_R_32F;
  const Matrix q = matrix(a, type, m, n, lda);
  const Matrix scales = vector(tau, type, k);
  return queue_solver(handle, name, {needed, 0}, given, [q, scales, k] {
    touch(scales, simt::Access::read);
    if (!all_finite(q)) {
      fill_with_nan(q);
      return 0;
    }
    touch_all({q});
    return orgqr<T>(q, k, scales);
  });
}

int orgqr_length(int m, int n) {
  return 32 * n + m;
}

cusolverStatus_t check_orgqr(int m, int n, int k, int* length) {
  if (m < 0 || n < 0 || n > m || k < 0 || k > n) return refuse(CUSOLVER_STATUS_INVALID_VALUE, "sizes");
  *length = orgqr_length(m, n);
  return CUSOLVER_STATUS_SUCCESS;
}

Bytes qr_bytes(int64_t m, int64_t n, cudaDataType type) {
  return {static_cast<size_t>(32 * n + m) * element_bytes(type), 0};
}

Bytes cholesky_bytes(int64_t n, cudaDataType type) {
  return {static_cast<size_t>(32 * n + 16) * element_bytes(type), 0};
}

cusolverStatus_t answer(const Bytes& bytes, size_t* device_bytes, size_t* host_bytes) {
  *device_bytes = bytes.device;
  *host_bytes = bytes.host;
  return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t refuse_types() {
  return refuse(CUSOLVER_STATUS_INVALID_VALUE, "a combination of types, a size or a leading dimension");
}

}  // namespace
}  // namespace emulated

EMULATED_ENTRY(cusolverDnCreate);
cusolverStatus_t cusolverDnCreate(cusolverDnHandle_t* handle) {
  return solver_call("cusolverDnCreate", [&] {
    *handle = new cusolverDnContext;
    return CUSOLVER_STATUS_SUCCESS;
  });
}

cusolverStatus_t cusolverDnDestroy(cusolverDnHandle_t handle) {
  delete handle;
  return CUSOLVER_STATUS_SUCCESS;
}

EMULATED_ENTRY(cusolverDnSetStream);
cusolverStatus_t cusolverDnSetStream(cusolverDnHandle_t handle, cudaStream_t stream) {
  return solver_call("cusolverDnSetStream", [&] {
    if (handle == nullptr) return refuse(CUSOLVER_STATUS_NOT_INITIALIZED, "no handle");
    handle->stream = stream;
    return CUSOLVER_STATUS_SUCCESS;
  });
}

cusolverStatus_t cusolverDnSetDeterministicMode(cusolverDnHandle_t handle, cusolverDeterministicMode_t /*mode*/) {
  return handle == nullptr ? CUSOLVER_STATUS_NOT_INITIALIZED : CUSOLVER_STATUS_SUCCESS;  // it always is
}

cusolverStatus_t cusolverDnSetAdvOptions(cusolverDnParams_t params, cusolverDnFunction_t /*function*/,
                                         cusolverAlgMode_t /*mode*/) {
  return params == nullptr ? CUSOLVER_STATUS_INVALID_VALUE : CUSOLVER_STATUS_SUCCESS;  // there is one algorithm
}

cusolverStatus_t cusolverDnCreateParams(cusolverDnParams_t* params) {
  *params = new cusolverDnParams;
  return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnDestroyParams(cusolverDnParams_t params) {
  delete params;
  return CUSOLVER_STATUS_SUCCESS;
}

EMULATED_ENTRY(cusolverDnXsyevd_bufferSize);
cusolverStatus_t cusolverDnXsyevd_bufferSize(cusolverDnHandle_t /*handle*/, cusolverDnParams_t /*params*/,
                                             cusolverEigMode_t /*mode*/, cublasFillMode_t /*fill*/, int64_t n,
                                             cudaDataType a_type, const void* a, int64_t lda, cudaDataType w_type,
                                             const void* /*w*/, cudaDataType compute, size_t* device_bytes,
                                             size_t* host_bytes) {
  return solver_call("cusolverDnXsyevd_bufferSize", [&] {
    if (!one_type({a_type, w_type, compute}) || bad_matrix(a, n, n, lda)) return refuse_types();
    return answer(eigen_bytes(matrix(a, a_type, n, n, lda)), device_bytes, host_bytes);
  });
}

EMULATED_ENTRY(cusolverDnXsyevd);
cusolverStatus_t cusolverDnXsyevd(cusolverDnHandle_t handle, cusolverDnParams_t /*params*/, cusolverEigMode_t mode,
                                  cublasFillMode_t fill, int64_t n, cudaDataType a_type, void* a, int64_t lda,
                                  cudaDataType w_type, void* w, cudaDataType compute, void* on_device,
                                  size_t device_bytes, void* on_host, size_t host_bytes, int* info) {
  return solver_call("cusolverDnXsyevd", [&] {
    if (!one_type({a_type, w_type, compute}) || bad_matrix(a, n, n, lda)) return refuse_types();
    const Eigen e{mode, fill, matrix(a, a_type, n, n, lda), vector(w, w_type, n), 1, n};
    return queue_eigen(handle, "cusolverDnXsyevd", e, {on_device, device_bytes, on_host, host_bytes, info});
  });
}

EMULATED_ENTRY(cusolverDnXsyevdx_bufferSize);
cusolverStatus_t cusolverDnXsyevdx_bufferSize(cusolverDnHandle_t /*handle*/, cusolverDnParams_t /*params*/,
                                              cusolverEigMode_t /*mode*/, cusolverEigRange_t /*range*/,
                                              cublasFillMode_t /*fill*/, int64_t n, cudaDataType a_type, const void* a,
                                              int64_t lda, void* /*vl*/, void* /*vu*/, int64_t /*il*/, int64_t /*iu*/,
                                              int64_t* /*count*/, cudaDataType w_type, const void* /*w*/,
                                              cudaDataType compute, size_t* device_bytes, size_t* host_bytes) {
  return solver_call("cusolverDnXsyevdx_bufferSize", [&] {
    if (!one_type({a_type, w_type, compute}) || bad_matrix(a, n, n, lda)) return refuse_types();
    return answer(eigen_bytes(matrix(a, a_type, n, n, lda)), device_bytes, host_bytes);
  });
}

EMULATED_ENTRY(cusolverDnXsyevdx);
cusolverStatus_t cusolverDnXsyevdx(cusolverDnHandle_t handle, cusolverDnParams_t /*params*/, cusolverEigMode_t mode,
                                   cusolverEigRange_t range, cublasFillMode_t fill, int64_t n, cudaDataType a_type,
                                   void* a, int64_t lda, void* /*vl*/, void* /*vu*/, int64_t il, int64_t iu,
                                   int64_t* count, cudaDataType w_type, void* w, cudaDataType compute, void* on_device,
                                   size_t device_bytes, void* on_host, size_t host_bytes, int* info) {
  return solver_call("cusolverDnXsyevdx", [&] {
    if (!one_type({a_type, w_type, compute}) || bad_matrix(a, n, n, lda)) return refuse_types();
    if (range == CUSOLVER_EIG_RANGE_V) return refuse(CUSOLVER_STATUS_NOT_SUPPORTED, "a range of values");
    Eigen e{mode, fill, matrix(a, a_type, n, n, lda), vector(w, w_type, n), 1, n};
    if (range == CUSOLVER_EIG_RANGE_I) {
      e.first = il;
      e.last = iu;
    }
    *count = e.last - e.first + 1;
    return queue_eigen(handle, "cusolverDnXsyevdx", e, {on_device, device_bytes, on_host, host_bytes, info});
  });
}

EMULATED_ENTRY(cusolverDnXgesvd_bufferSize);
cusolverStatus_t cusolverDnXgesvd_bufferSize(cusolverDnHandle_t /*handle*/, cusolverDnParams_t /*params*/,
                                             signed char /*job_u*/, signed char /*job_vt*/, int64_t m, int64_t n,
                                             cudaDataType a_type, const void* a, int64_t lda, cudaDataType s_type,
                                             const void* /*s*/, cudaDataType u_type, const void* /*u*/, int64_t /*ldu*/,
                                             cudaDataType vt_type, const void* /*vt*/, int64_t /*ldvt*/,
                                             cudaDataType compute, size_t* device_bytes, size_t* host_bytes) {
  return solver_call("cusolverDnXgesvd_bufferSize", [&] {
    if (!one_type({a_type, s_type, u_type, vt_type, compute}) || m < n || bad_matrix(a, m, n, lda)) {
      return refuse_types();
    }
    return answer(svd_bytes(m, n, a_type), device_bytes, host_bytes);
  });
}

EMULATED_ENTRY(cusolverDnXgesvd);
cusolverStatus_t cusolverDnXgesvd(cusolverDnHandle_t handle, cusolverDnParams_t /*params*/, signed char job_u,
                                  signed char job_vt, int64_t m, int64_t n, cudaDataType a_type, void* a, int64_t lda,
                                  cudaDataType s_type, void* s, cudaDataType u_type, void* u, int64_t ldu,
                                  cudaDataType vt_type, void* vt, int64_t ldvt, cudaDataType compute, void* on_device,
                                  size_t device_bytes, void* on_host, size_t host_bytes, int* info) {
  return solver_call("cusolverDnXgesvd", [&] {
    const Svd d =
        svd_of({m, n, a_type, a, lda, s, u, ldu, vt, ldvt}, static_cast<char>(job_u), static_cast<char>(job_vt));
    if (!one_type({a_type, s_type, u_type, vt_type, compute}) || m < n || bad_svd(d)) return refuse_types();
    return queue_solver(handle, "cusolverDnXgesvd", svd_bytes(m, n, a_type),
                        {on_device, device_bytes, on_host, host_bytes, info}, [d] { return run_svd(d); });
  });
}

EMULATED_ENTRY(cusolverDnXgesvdp_bufferSize);
cusolverStatus_t cusolverDnXgesvdp_bufferSize(cusolverDnHandle_t /*handle*/, cusolverDnParams_t /*params*/,
                                              cusolverEigMode_t /*mode*/, int /*economic*/, int64_t m, int64_t n,
                                              cudaDataType a_type, const void* a, int64_t lda, cudaDataType s_type,
                                              const void* /*s*/, cudaDataType u_type, const void* /*u*/,
                                              int64_t /*ldu*/, cudaDataType v_type, const void* /*v*/, int64_t /*ldv*/,
                                              cudaDataType compute, size_t* device_bytes, size_t* host_bytes) {
  return solver_call("cusolverDnXgesvdp_bufferSize", [&] {
    if (!one_type({a_type, s_type, u_type, v_type, compute}) || bad_matrix(a, m, n, lda)) return refuse_types();
    return answer(svd_bytes(m, n, a_type), device_bytes, host_bytes);
  });
}

EMULATED_ENTRY(cusolverDnXgesvdp);
cusolverStatus_t cusolverDnXgesvdp(cusolverDnHandle_t handle, cusolverDnParams_t /*params*/, cusolverEigMode_t mode,
                                   int economic, int64_t m, int64_t n, cudaDataType a_type, void* a, int64_t lda,
                                   cudaDataType s_type, void* s, cudaDataType u_type, void* u, int64_t ldu,
                                   cudaDataType v_type, void* v, int64_t ldv, cudaDataType compute, void* on_device,
                                   size_t device_bytes, void* on_host, size_t host_bytes, int* info, double* error) {
  return solver_call("cusolverDnXgesvdp", [&] {
    const char job = mode == CUSOLVER_EIG_MODE_NOVECTOR ? 'N' : economic != 0 ? 'S' : 'A';
    Svd d = svd_of({m, n, a_type, a, lda, s, u, ldu, nullptr, n}, job, job);
    const Matrix vectors = matrix(v, v_type, n, static_cast<int64_t>(d.vt.rows), std::max<int64_t>(ldv, 1));
    d.vt.data = v;
    if (!one_type({a_type, s_type, u_type, v_type, compute}) || bad_svd(d) || (job != 'N' && ldv < n)) {
      return refuse_types();
    }
    *error = 0;
    return queue_solver(handle, "cusolverDnXgesvdp", svd_bytes(m, n, a_type),
                        {on_device, device_bytes, on_host, host_bytes, info},
                        [d, vectors] { return run_polar_svd(d, vectors); });
  });
}

EMULATED_ENTRY(cusolverDnXgeqrf_bufferSize);
cusolverStatus_t cusolverDnXgeqrf_bufferSize(cusolverDnHandle_t /*handle*/, cusolverDnParams_t /*params*/, int64_t m,
                                             int64_t n, cudaDataType a_type, const void* a, int64_t lda,
                                             cudaDataType tau_type, const void* /*tau*/, cudaDataType compute,
                                             size_t* device_bytes, size_t* host_bytes) {
  return solver_call("cusolverDnXgeqrf_bufferSize", [&] {
    if (!one_type({a_type, tau_type, compute}) || bad_matrix(a, m, n, lda)) return refuse_types();
    return answer(qr_bytes(m, n, a_type), device_bytes, host_bytes);
  });
}

EMULATED_ENTRY(cusolverDnXgeqrf);
cusolverStatus_t cusolverDnXgeqrf(cusolverDnHandle_t handle, cusolverDnParams_t /*params*/, int64_t m, int64_t n,
                                  cudaDataType a_type, void* a, int64_t lda, cudaDataType tau_type, void* tau,
                                  cudaDataType compute, void* on_device, size_t device_bytes, void* on_host,
                                  size_t host_bytes, int* info) {
  return solver_call("cusolverDnXgeqrf", [&] {
    if (!one_type({a_type, tau_type, compute}) || bad_matrix(a, m, n, lda)) return refuse_types();
    const Matrix in = matrix(a, a_type, m, n, lda);
    const Matrix scales = vector(tau, tau_type, std::min(m, n));
    return queue_solver(handle, "cusolverDnXgeqrf", qr_bytes(m, n, a_type),
                        {on_device, device_bytes, on_host, host_bytes, info}, [in, scales] {
                          const bool usable = all_finite(in);
                          touch_all({in, scales});
                          if (usable) return with_real(in.type, [&]<class T>(T) { return geqrf<T>(in, scales); });
                          fill_with_nan(in);
                          fill_with_nan(scales);
                          return 0;
                        });
  });
}

EMULATED_ENTRY(cusolverDnXpotrf_bufferSize);
cusolverStatus_t cusolverDnXpotrf_bufferSize(cusolverDnHandle_t /*handle*/, cusolverDnParams_t /*params*/,
                                             cublasFillMode_t /*fill*/, int64_t n, cudaDataType a_type, const void* a,
                                             int64_t lda, cudaDataType compute, size_t* device_bytes,
                                             size_t* host_bytes) {
  return solver_call("cusolverDnXpotrf_bufferSize", [&] {
    if (!one_type({a_type, compute}) || bad_matrix(a, n, n, lda)) return refuse_types();
    return answer(cholesky_bytes(n, a_type), device_bytes, host_bytes);
  });
}

EMULATED_ENTRY(cusolverDnXpotrf);
cusolverStatus_t cusolverDnXpotrf(cusolverDnHandle_t handle, cusolverDnParams_t /*params*/, cublasFillMode_t fill,
                                  int64_t n, cudaDataType a_type, void* a, int64_t lda, cudaDataType compute,
                                  void* on_device, size_t device_bytes, void* on_host, size_t host_bytes, int* info) {
  return solver_call("cusolverDnXpotrf", [&] {
    if (!one_type({a_type, compute}) || bad_matrix(a, n, n, lda)) return refuse_types();
    const Matrix in = matrix(a, a_type, n, n, lda);
    const char uplo = fill == CUBLAS_FILL_MODE_LOWER ? 'L' : 'U';
    return queue_solver(handle, "cusolverDnXpotrf", cholesky_bytes(n, a_type),
                        {on_device, device_bytes, on_host, host_bytes, info}, [in, uplo] {
                          if (!triangle_is_finite(in, uplo == 'L')) return 1;
                          touch_all({in});
                          return with_real(in.type, [&]<class T>(T) { return potrf<T>(uplo, in); });
                        });
  });
}

EMULATED_ENTRY(cusolverDnSorgqr_bufferSize);
cusolverStatus_t cusolverDnSorgqr_bufferSize(cusolverDnHandle_t /*handle*/, int m, int n, int k, const float* /*a*/,
                                             int /*lda*/, const float* /*tau*/, int* length) {
  return solver_call("cusolverDnSorgqr_bufferSize", [&] { return check_orgqr(m, n, k, length); });
}

EMULATED_ENTRY(cusolverDnDorgqr_bufferSize);
cusolverStatus_t cusolverDnDorgqr_bufferSize(cusolverDnHandle_t /*handle*/, int m, int n, int k, const double* /*a*/,
                                             int /*lda*/, const double* /*tau*/, int* length) {
  return solver_call("cusolverDnDorgqr_bufferSize", [&] { return check_orgqr(m, n, k, length); });
}

EMULATED_ENTRY(cusolverDnSorgqr);
cusolverStatus_t cusolverDnSorgqr(cusolverDnHandle_t handle, int m, int n, int k, float* a, int lda, const float* tau,
                                  float* work, int length, int* info) {
  return solver_call("cusolverDnSorgqr", [&] {
    const Workspace given{work, static_cast<size_t>(length) * sizeof(float), nullptr, 0, info};
    const auto needed = static_cast<size_t>(orgqr_length(m, n)) * sizeof(float);
    return queue_orgqr(handle, "cusolverDnSorgqr", m, n, k, a, lda, tau, given, needed);
  });
}

EMULATED_ENTRY(cusolverDnDorgqr);
cusolverStatus_t cusolverDnDorgqr(cusolverDnHandle_t handle, int m, int n, int k, double* a, int lda, const double* tau,
                                  double* work, int length, int* info) {
  return solver_call("cusolverDnDorgqr", [&] {
    const Workspace given{work, static_cast<size_t>(length) * sizeof(double), nullptr, 0, info};
    const auto needed = static_cast<size_t>(orgqr_length(m, n)) * sizeof(double);
    return queue_orgqr(handle, "cusolverDnDorgqr", m, n, k, a, lda, tau, given, needed);
  });
}
