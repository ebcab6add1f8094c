// cuSOLVER's factorisations: QR and Cholesky.
#include "tests/simt/cuda/solver.h"

#include <algorithm>
#include <type_traits>
#include <utility>

using namespace emulated;

namespace emulated {
namespace {

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

}  // namespace
}  // namespace emulated

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
