// cuSOLVER's singular value decompositions.
#include "tests/simt/cuda/solver.h"

#include <algorithm>
#include <type_traits>
#include <utility>

using namespace emulated;

namespace emulated {
namespace {

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

}  // namespace
}  // namespace emulated

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
