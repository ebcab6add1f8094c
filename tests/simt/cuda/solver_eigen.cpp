// cuSOLVER's symmetric eigenproblems: all of the spectrum, a range of it, and batches.
#include "tests/simt/cuda/solver.h"

#include <algorithm>
#include <type_traits>
#include <utility>

using namespace emulated;

namespace emulated {
namespace {

template <class T>
int syevd(char job, char uplo, const Matrix& a, const Matrix& w) {
  if constexpr (std::is_same_v<T, double>) {
    return LAPACKE_dsyevd(LAPACK_COL_MAJOR, job, uplo, whole(a.rows), elements<T>(a), whole(a.stride), elements<T>(w));
  } else {
    return LAPACKE_ssyevd(LAPACK_COL_MAJOR, job, uplo, whole(a.rows), elements<T>(a), whole(a.stride), elements<T>(w));
  }
}

struct Eigen {
  const char* name = "";  ///< of the entry point
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
  const bool diverges = planned_divergence(e.name);
  if (!usable || diverges) {
    fill_with_nan(e.a);
    fill_with_nan(e.w);
    return diverges ? 1 : 0;
  }
  const char job = e.mode == CUSOLVER_EIG_MODE_VECTOR ? 'V' : 'N';
  const char uplo = e.fill == CUBLAS_FILL_MODE_LOWER ? 'L' : 'U';
  const int info = with_real(e.a.type, [&]<class T>(T) { return syevd<T>(job, uplo, e.a, e.w); });
  if (info == 0 && (e.first != 1 || e.last != static_cast<int64_t>(e.a.rows))) keep_range(e);
  return info;
}

cusolverStatus_t queue_eigen(cusolverDnHandle_t handle, const Eigen& e, const Workspace& given) {
  if (e.first < 1 || e.last > static_cast<int64_t>(e.a.rows) || e.first > e.last) {
    return refuse(CUSOLVER_STATUS_INVALID_VALUE, "a range of eigenvalues");
  }
  return queue_solver(handle, e.name, eigen_bytes(e.a), given, [e] { return run_eigen(e); });
}

/// Matrices [lda, n] and eigenvalues [n], one behind the other.
struct EigenBatch {
  int64_t n;
  cudaDataType type;
  void* a;
  int64_t lda;
  void* w;
  int64_t count;

  Eigen at(cusolverEigMode_t mode, cublasFillMode_t fill, int64_t i) const {
    const auto size = static_cast<int64_t>(element_bytes(type));
    return {"cusolverDnXsyevBatched",
            mode,
            fill,
            matrix(static_cast<std::byte*>(a) + i * lda * n * size, type, n, n, lda),
            vector(static_cast<std::byte*>(w) + i * n * size, type, n),
            1,
            n};
  }
  Bytes bytes() const {
    const Bytes one = eigen_bytes(matrix(a, type, n, n, lda));
    return {one.device * static_cast<size_t>(count), one.host * static_cast<size_t>(count)};
  }
};

/// The documentation: problems are limited to n lda batchSize <= INT32_MAX.
bool bad_batch(const EigenBatch& b) {
  return b.count < 1 || b.n < 1 || bad_matrix(b.a, b.n, b.n, b.lda) || b.w == nullptr ||
         b.lda > INT32_MAX / b.n / b.count;
}

}  // namespace
}  // namespace emulated

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
    const Eigen e{"cusolverDnXsyevd", mode, fill, matrix(a, a_type, n, n, lda), vector(w, w_type, n), 1, n};
    return queue_eigen(handle, e, {on_device, device_bytes, on_host, host_bytes, info});
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

EMULATED_ENTRY(cusolverDnXsyevBatched_bufferSize);
cusolverStatus_t cusolverDnXsyevBatched_bufferSize(cusolverDnHandle_t /*handle*/, cusolverDnParams_t /*params*/,
                                                   cusolverEigMode_t /*mode*/, cublasFillMode_t /*fill*/, int64_t n,
                                                   cudaDataType a_type, const void* a, int64_t lda, cudaDataType w_type,
                                                   const void* w, cudaDataType compute, size_t* device_bytes,
                                                   size_t* host_bytes, int64_t count) {
  return solver_call("cusolverDnXsyevBatched_bufferSize", [&] {
    const EigenBatch batch{n, a_type, const_cast<void*>(a), lda, const_cast<void*>(w), count};
    if (!one_type({a_type, w_type, compute}) || bad_batch(batch)) return refuse_types();
    return answer(batch.bytes(), device_bytes, host_bytes);
  });
}

EMULATED_ENTRY(cusolverDnXsyevBatched);
cusolverStatus_t cusolverDnXsyevBatched(cusolverDnHandle_t handle, cusolverDnParams_t /*params*/,
                                        cusolverEigMode_t mode, cublasFillMode_t fill, int64_t n, cudaDataType a_type,
                                        void* a, int64_t lda, cudaDataType w_type, void* w, cudaDataType compute,
                                        void* on_device, size_t device_bytes, void* on_host, size_t host_bytes,
                                        int* info, int64_t count) {
  return solver_call("cusolverDnXsyevBatched", [&] {
    const EigenBatch batch{n, a_type, a, lda, w, count};
    if (!one_type({a_type, w_type, compute}) || bad_batch(batch)) return refuse_types();
    return queue_solver(handle, "cusolverDnXsyevBatched", batch.bytes(),
                        {on_device, device_bytes, on_host, host_bytes, info}, [batch, mode, fill] {
                          std::vector<int> infos;
                          for (int64_t i = 0; i < batch.count; ++i) infos.push_back(run_eigen(batch.at(mode, fill, i)));
                          return infos;
                        });
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
    Eigen e{"cusolverDnXsyevdx", mode, fill, matrix(a, a_type, n, n, lda), vector(w, w_type, n), 1, n};
    if (range == CUSOLVER_EIG_RANGE_I) {
      e.first = il;
      e.last = iu;
    }
    *count = e.last - e.first + 1;
    return queue_eigen(handle, e, {on_device, device_bytes, on_host, host_bytes, info});
  });
}
