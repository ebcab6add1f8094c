// cuSOLVER of the stand-in: what its results must satisfy, by plain loops, and what it refuses.
#include <cusolverDn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/kernels/support.h"
#include "tests/simt/cuda/support.h"

namespace emulated::test {
namespace {

using subspect::kernels::test::random_values;
using ::testing::HasSubstr;

template <class T>
constexpr cudaDataType real_type = std::is_same_v<T, float> ? CUDA_R_32F : CUDA_R_64F;
template <class T>
constexpr double precision = std::is_same_v<T, float> ? 2e-5 : 1e-12;

/// A matrix by columns.
template <class T>
struct Columns {
  int rows;
  int cols;
  int stride;
  std::vector<T> values;

  T& at(int i, int j) { return values[static_cast<size_t>(j * stride + i)]; }
  double at(int i, int j) const { return static_cast<double>(values[static_cast<size_t>(j * stride + i)]); }
};

template <class T>
Columns<T> random_columns(int rows, int cols, uint64_t seed) {
  Columns<T> m{rows, cols, rows + 2, {}};
  const std::vector<float> values = random_values<float>(m.stride * cols, seed);
  m.values.assign(values.begin(), values.end());
  return m;
}

/// a a^T + shift, its upper triangle full of NaN, as memory is that nobody wrote.
template <class T>
Columns<T> random_lower(int n, double shift, uint64_t seed) {
  const Columns<T> a = random_columns<T>(n, n, seed);
  Columns<T> g{n, n, n + 1, std::vector<T>(static_cast<size_t>(n * (n + 1)), static_cast<T>(NAN))};
  for (int j = 0; j < n; ++j) {
    for (int i = j; i < n; ++i) {
      double sum = i == j ? shift : 0;
      for (int k = 0; k < n; ++k) sum += a.at(i, k) * a.at(j, k);
      g.at(i, j) = static_cast<T>(sum);
    }
  }
  return g;
}

template <class T>
void expect_orthonormal_columns(const Columns<T>& q, int cols) {
  for (int a = 0; a < cols; ++a) {
    for (int b = 0; b <= a; ++b) {
      double sum = 0;
      for (int i = 0; i < q.rows; ++i) sum += q.at(i, a) * q.at(i, b);
      EXPECT_NEAR(sum, a == b ? 1 : 0, precision<T>);
    }
  }
}

template <class T>
class Solver : public EmulatedCase {
 protected:
  void SetUp() override {
    EmulatedCase::SetUp();
    ASSERT_EQ(cusolverDnCreate(&handle_), CUSOLVER_STATUS_SUCCESS);
    ASSERT_EQ(cusolverDnSetStream(handle_, stream_.get()), CUSOLVER_STATUS_SUCCESS);
    ASSERT_EQ(cusolverDnCreateParams(&params_), CUSOLVER_STATUS_SUCCESS);
  }
  void TearDown() override {
    EXPECT_EQ(cusolverDnDestroyParams(params_), CUSOLVER_STATUS_SUCCESS);
    EXPECT_EQ(cusolverDnDestroy(handle_), CUSOLVER_STATUS_SUCCESS);
    EmulatedCase::TearDown();
  }

  static constexpr cudaDataType type = real_type<T>;

  /// `query(device_bytes, host_bytes)`, then `run(device, bytes, host, bytes, info)`; the info when all is done.
  template <class Query, class Run>
  int solve(const Query& query, const Run& run) {
    size_t device_bytes = 0;
    size_t host_bytes = 0;
    EXPECT_EQ(query(&device_bytes, &host_bytes), CUSOLVER_STATUS_SUCCESS) << refusal();
    const DeviceArray<std::byte> workspace(device_bytes);
    std::vector<std::byte> on_host(host_bytes);
    const DeviceArray<int> info(1);
    EXPECT_EQ(run(workspace.data(), device_bytes - 1, on_host.data(), host_bytes, info.data()),
              CUSOLVER_STATUS_INVALID_VALUE)
        << "a workspace too small";
    EXPECT_EQ(run(workspace.data(), device_bytes, on_host.data(), host_bytes, info.data()), CUSOLVER_STATUS_SUCCESS)
        << refusal();
    EXPECT_GT(queued_operations(), 0);
    return info.values()[0];
  }

  int eigen(const DeviceArray<T>& a, int n, int stride, const DeviceArray<T>& w) {
    return solve(
        [&](size_t* device, size_t* host) {
          return cusolverDnXsyevd_bufferSize(handle_, params_, CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_LOWER, n,
                                             type, a.data(), stride, type, w.data(), type, device, host);
        },
        [&](void* device, size_t bytes, void* host, size_t host_bytes, int* info) {
          return cusolverDnXsyevd(handle_, params_, CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_LOWER, n, type, a.data(),
                                  stride, type, w.data(), type, device, bytes, host, host_bytes, info);
        });
  }

  int cholesky(const DeviceArray<T>& a, int n, int stride) {
    return solve(
        [&](size_t* device, size_t* host) {
          return cusolverDnXpotrf_bufferSize(handle_, params_, CUBLAS_FILL_MODE_LOWER, n, type, a.data(), stride, type,
                                             device, host);
        },
        [&](void* device, size_t bytes, void* host, size_t host_bytes, int* info) {
          return cusolverDnXpotrf(handle_, params_, CUBLAS_FILL_MODE_LOWER, n, type, a.data(), stride, type, device,
                                  bytes, host, host_bytes, info);
        });
  }

  int qr(const DeviceArray<T>& a, int m, int n, int stride, const DeviceArray<T>& tau) {
    return solve(
        [&](size_t* device, size_t* host) {
          return cusolverDnXgeqrf_bufferSize(handle_, params_, m, n, type, a.data(), stride, type, tau.data(), type,
                                             device, host);
        },
        [&](void* device, size_t bytes, void* host, size_t host_bytes, int* info) {
          return cusolverDnXgeqrf(handle_, params_, m, n, type, a.data(), stride, type, tau.data(), type, device, bytes,
                                  host, host_bytes, info);
        });
  }

  int orthonormal(const DeviceArray<T>& a, int m, int n, int stride, const DeviceArray<T>& tau) {
    return solve(
        [&](size_t* device, size_t* host) {
          int length = 0;
          *host = 0;
          cusolverStatus_t status{};
          if constexpr (std::is_same_v<T, float>) {
            status = cusolverDnSorgqr_bufferSize(handle_, m, n, n, a.data(), stride, tau.data(), &length);
          } else {
            status = cusolverDnDorgqr_bufferSize(handle_, m, n, n, a.data(), stride, tau.data(), &length);
          }
          *device = static_cast<size_t>(length) * sizeof(T);
          return status;
        },
        [&](void* device, size_t bytes, void* /*host*/, size_t /*host_bytes*/, int* info) {
          const auto length = static_cast<int>(bytes / sizeof(T));
          if constexpr (std::is_same_v<T, float>) {
            return cusolverDnSorgqr(handle_, m, n, n, a.data(), stride, tau.data(), static_cast<float*>(device), length,
                                    info);
          } else {
            return cusolverDnDorgqr(handle_, m, n, n, a.data(), stride, tau.data(), static_cast<double*>(device),
                                    length, info);
          }
        });
  }

  TestStream stream_;
  cusolverDnHandle_t handle_ = nullptr;
  cusolverDnParams_t params_ = nullptr;
};

using Reals = ::testing::Types<float, double>;
struct RealNames {
  template <class T>
  static std::string GetName(int /*index*/) {
    return std::is_same_v<T, float> ? "float32" : "float64";
  }
};
TYPED_TEST_SUITE(Solver, Reals, RealNames);

/// a v_k = w_k v_k for the symmetric matrix whose lower triangle is given.
template <class T>
void expect_eigenvectors(const Columns<T>& lower, const Columns<T>& vectors, const std::vector<T>& w, int count) {
  const double scale = std::abs(static_cast<double>(w[static_cast<size_t>(count - 1)]));
  for (int k = 0; k < count; ++k) {
    for (int i = 0; i < lower.rows; ++i) {
      double sum = 0;
      for (int j = 0; j < lower.rows; ++j) sum += lower.at(std::max(i, j), std::min(i, j)) * vectors.at(j, k);
      EXPECT_NEAR(sum, static_cast<double>(w[static_cast<size_t>(k)]) * vectors.at(i, k), precision<T> * scale);
    }
  }
}

TYPED_TEST(Solver, SyevdGivesEigenvectorsOfTheTriangle) {
  using T = TypeParam;
  const Columns<T> a = random_lower<T>(7, 0, 1);
  const DeviceArray<T> da(a.values), dw(7);
  ASSERT_EQ(this->eigen(da, 7, a.stride, dw), 0);
  const std::vector<T> w = dw.values();
  EXPECT_TRUE(std::is_sorted(w.begin(), w.end()));
  const Columns<T> vectors{7, 7, a.stride, da.values()};
  expect_orthonormal_columns(vectors, 7);
  expect_eigenvectors(a, vectors, w, 7);
}

TYPED_TEST(Solver, SyevdOfNaNSucceedsWithNaN) {
  using T = TypeParam;
  Columns<T> a = random_lower<T>(4, 0, 1);
  a.at(2, 1) = static_cast<T>(NAN);
  const DeviceArray<T> da(a.values), dw(4);
  EXPECT_EQ(this->eigen(da, 4, a.stride, dw), 0);
  EXPECT_TRUE(std::isnan(dw.values()[0]));
}

TYPED_TEST(Solver, AnEigenproblemCanBeMadeToDiverge) {
  using T = TypeParam;
  const Columns<T> a = random_lower<T>(4, 0, 1);
  const DeviceArray<T> da(a.values), dw(4);
  fail_convergence("cusolverDnXsyevd", 1);
  EXPECT_EQ(this->eigen(da, 4, a.stride, dw), 1);
  EXPECT_TRUE(std::isnan(dw.values()[0]));
  EXPECT_THROW(fail_convergence("cusolverDnXsyev", 1), std::invalid_argument);
}

TYPED_TEST(Solver, SyevdxGivesARange) {
  using T = TypeParam;
  const Columns<T> a = random_lower<T>(6, 0, 2);
  const DeviceArray<T> da(a.values), dw(6), all(a.values), all_w(6);
  ASSERT_EQ(this->eigen(all, 6, a.stride, all_w), 0);
  int64_t count = 0;
  const int info = this->solve(
      [&](size_t* device, size_t* host) {
        return cusolverDnXsyevdx_bufferSize(this->handle_, this->params_, CUSOLVER_EIG_MODE_VECTOR,
                                            CUSOLVER_EIG_RANGE_I, CUBLAS_FILL_MODE_LOWER, 6, this->type, da.data(),
                                            a.stride, nullptr, nullptr, 4, 6, &count, this->type, dw.data(), this->type,
                                            device, host);
      },
      [&](void* device, size_t bytes, void* host, size_t host_bytes, int* at) {
        return cusolverDnXsyevdx(this->handle_, this->params_, CUSOLVER_EIG_MODE_VECTOR, CUSOLVER_EIG_RANGE_I,
                                 CUBLAS_FILL_MODE_LOWER, 6, this->type, da.data(), a.stride, nullptr, nullptr, 4, 6,
                                 &count, this->type, dw.data(), this->type, device, bytes, host, host_bytes, at);
      });
  ASSERT_EQ(info, 0);
  ASSERT_EQ(count, 3);
  const std::vector<T> w = dw.values();
  const std::vector<T> every = all_w.values();
  EXPECT_TRUE(std::equal(every.begin() + 3, every.end(), w.begin()));
  expect_eigenvectors(a, Columns<T>{6, 6, a.stride, da.values()}, w, 3);
}

/// Runs cusolverDnXsyevBatched on matrices [stride, n] and checks its workspace; by matrix its info.
template <class T>
std::vector<int> batched_eigen(cusolverDnHandle_t handle, cusolverDnParams_t params, int n, int stride, int count,
                               const DeviceArray<T>& a, const DeviceArray<T>& w) {
  constexpr cudaDataType type = real_type<T>;
  size_t device_bytes = 0;
  size_t host_bytes = 0;
  EXPECT_EQ(
      cusolverDnXsyevBatched_bufferSize(handle, params, CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_LOWER, n, type,
                                        a.data(), stride, type, w.data(), type, &device_bytes, &host_bytes, count),
      CUSOLVER_STATUS_SUCCESS)
      << refusal();
  const DeviceArray<std::byte> workspace(device_bytes);
  std::vector<std::byte> on_host(host_bytes);
  const DeviceArray<int> info(static_cast<size_t>(count));
  const auto run = [&](size_t bytes) {
    return cusolverDnXsyevBatched(handle, params, CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_LOWER, n, type, a.data(),
                                  stride, type, w.data(), type, workspace.data(), bytes, on_host.data(), host_bytes,
                                  info.data(), count);
  };
  EXPECT_EQ(run(device_bytes - 1), CUSOLVER_STATUS_INVALID_VALUE) << "a workspace too small";
  EXPECT_EQ(run(device_bytes), CUSOLVER_STATUS_SUCCESS) << refusal();
  return info.values();
}

/// Matrices one behind the other.
template <class T>
std::vector<T> packed(const std::vector<Columns<T>>& matrices) {
  std::vector<T> all;
  for (const Columns<T>& matrix : matrices) all.insert(all.end(), matrix.values.begin(), matrix.values.end());
  return all;
}

TYPED_TEST(Solver, SyevBatchedGivesEigenvectorsOfEachTriangle) {
  using T = TypeParam;
  const std::vector<Columns<T>> all = {random_lower<T>(5, 0, 1), random_lower<T>(5, 0, 2), random_lower<T>(5, 0, 3)};
  const DeviceArray<T> da(packed(all)), dw(15);
  ASSERT_EQ(batched_eigen(this->handle_, this->params_, 5, all[0].stride, 3, da, dw), std::vector<int>(3, 0));
  const std::vector<T> vectors = da.values();
  const std::vector<T> values = dw.values();
  for (size_t i = 0; i < all.size(); ++i) {
    const size_t size = all[i].values.size();
    const auto from = vectors.begin() + static_cast<std::ptrdiff_t>(i * size);
    const auto first = values.begin() + static_cast<std::ptrdiff_t>(5 * i);
    const std::vector<T> w(first, first + 5);
    const Columns<T> found{5, 5, all[i].stride, {from, from + static_cast<std::ptrdiff_t>(size)}};
    EXPECT_TRUE(std::is_sorted(w.begin(), w.end()));
    expect_orthonormal_columns(found, 5);
    expect_eigenvectors(all[i], found, w, 5);
  }
}

TYPED_TEST(Solver, SyevBatchedSaysWhichMatrixDidNotConverge) {
  using T = TypeParam;
  const std::vector<Columns<T>> all = {random_lower<T>(4, 0, 1), random_lower<T>(4, 0, 2)};
  const DeviceArray<T> da(packed(all)), dw(8);
  fail_convergence("cusolverDnXsyevBatched", 2);
  EXPECT_EQ(batched_eigen(this->handle_, this->params_, 4, all[0].stride, 2, da, dw), (std::vector<int>{0, 1}));
  const std::vector<T> w = dw.values();
  EXPECT_FALSE(std::isnan(w[3]));
  EXPECT_TRUE(std::isnan(w[4]));
}

TYPED_TEST(Solver, SyevBatchedIsLimitedTo32BitsOfElements) {
  using T = TypeParam;
  constexpr cudaDataType real = real_type<T>;
  const DeviceArray<T> a(16), w(4);
  const auto query = [&](int64_t n, int64_t stride, int64_t count) {
    size_t bytes = 0;
    return cusolverDnXsyevBatched_bufferSize(this->handle_, this->params_, CUSOLVER_EIG_MODE_VECTOR,
                                             CUBLAS_FILL_MODE_LOWER, n, real, a.data(), stride, real, w.data(), real,
                                             &bytes, &bytes, count);
  };
  EXPECT_EQ(query(512, 512, 8191), CUSOLVER_STATUS_SUCCESS);
  EXPECT_EQ(query(512, 512, 8192), CUSOLVER_STATUS_INVALID_VALUE);
  EXPECT_EQ(query(512, 511, 2), CUSOLVER_STATUS_INVALID_VALUE);
  EXPECT_EQ(query(512, 512, 0), CUSOLVER_STATUS_INVALID_VALUE);
}

TYPED_TEST(Solver, PotrfFactorsOrSaysWhereItFailed) {
  using T = TypeParam;
  const Columns<T> a = random_lower<T>(6, 1, 3);
  const DeviceArray<T> da(a.values);
  ASSERT_EQ(this->cholesky(da, 6, a.stride), 0);
  const Columns<T> l{6, 6, a.stride, da.values()};
  for (int j = 0; j < 6; ++j) {
    for (int i = j; i < 6; ++i) {
      double sum = 0;
      for (int k = 0; k <= j; ++k) sum += l.at(i, k) * l.at(j, k);
      EXPECT_NEAR(sum, a.at(i, j), 20 * precision<T>);
    }
  }
  Columns<T> indefinite = a;
  indefinite.at(3, 3) = -1;
  const DeviceArray<T> db(indefinite.values);
  EXPECT_EQ(this->cholesky(db, 6, a.stride), 4);
}

TYPED_TEST(Solver, GeqrfAndOrgqrGiveAnOrthonormalBasis) {
  using T = TypeParam;
  const Columns<T> a = random_columns<T>(9, 4, 4);
  const DeviceArray<T> da(a.values), tau(4);
  ASSERT_EQ(this->qr(da, 9, 4, a.stride, tau), 0);
  const Columns<T> r{9, 4, a.stride, da.values()};
  ASSERT_EQ(this->orthonormal(da, 9, 4, a.stride, tau), 0);
  const Columns<T> q{9, 4, a.stride, da.values()};
  expect_orthonormal_columns(q, 4);
  for (int j = 0; j < 4; ++j) {
    for (int i = 0; i < 9; ++i) {
      double sum = 0;
      for (int k = 0; k <= j; ++k) sum += q.at(i, k) * r.at(k, j);
      EXPECT_NEAR(sum, a.at(i, j), 10 * precision<T>);
    }
  }
}

/// a = u diag(s) v^T, where element (j, k) of v is given by `v_at`.
template <class T, class V>
void expect_svd(const Columns<T>& a, const Columns<T>& u, const std::vector<T>& s, const V& v_at) {
  EXPECT_TRUE(std::is_sorted(s.rbegin(), s.rend()));
  const int rank = std::min(a.rows, a.cols);
  expect_orthonormal_columns(u, rank);
  for (int j = 0; j < a.cols; ++j) {
    for (int i = 0; i < a.rows; ++i) {
      double sum = 0;
      for (int k = 0; k < rank; ++k) sum += u.at(i, k) * static_cast<double>(s[static_cast<size_t>(k)]) * v_at(j, k);
      EXPECT_NEAR(sum, a.at(i, j), 10 * precision<T>);
    }
  }
}

TYPED_TEST(Solver, GesvdDecomposes) {
  using T = TypeParam;
  constexpr cudaDataType real = real_type<T>;
  const Columns<T> a = random_columns<T>(8, 5, 5);
  const DeviceArray<T> da(a.values), ds(5), du(40), dvt(25);
  const int info = this->solve(
      [&](size_t* device, size_t* host) {
        return cusolverDnXgesvd_bufferSize(this->handle_, this->params_, 'S', 'S', 8, 5, real, da.data(), a.stride,
                                           real, ds.data(), real, du.data(), 8, real, dvt.data(), 5, real, device,
                                           host);
      },
      [&](void* device, size_t bytes, void* host, size_t host_bytes, int* at) {
        return cusolverDnXgesvd(this->handle_, this->params_, 'S', 'S', 8, 5, real, da.data(), a.stride, real,
                                ds.data(), real, du.data(), 8, real, dvt.data(), 5, real, device, bytes, host,
                                host_bytes, at);
      });
  ASSERT_EQ(info, 0);
  const Columns<T> vt{5, 5, 5, dvt.values()};
  expect_svd(a, Columns<T>{8, 5, 8, du.values()}, ds.values(), [&](int j, int k) { return vt.at(k, j); });
  size_t bytes = 0;
  EXPECT_EQ(cusolverDnXgesvd_bufferSize(this->handle_, this->params_, 'S', 'S', 5, 8, real, da.data(), 5, real,
                                        ds.data(), real, du.data(), 8, real, dvt.data(), 8, real, &bytes, &bytes),
            CUSOLVER_STATUS_INVALID_VALUE)
      << "more columns than rows";
}

TYPED_TEST(Solver, GesvdpDecomposes) {
  using T = TypeParam;
  constexpr cudaDataType real = real_type<T>;
  for (const auto& [m, n] : {std::pair{7, 4}, std::pair{4, 7}}) {
    const Columns<T> a = random_columns<T>(m, n, 6);
    const DeviceArray<T> da(a.values), ds(4), du(static_cast<size_t>(4 * m)), dv(static_cast<size_t>(4 * (n + 1)));
    double error = -1;
    const int info = this->solve(
        [&](size_t* device, size_t* host) {
          return cusolverDnXgesvdp_bufferSize(this->handle_, this->params_, CUSOLVER_EIG_MODE_VECTOR, 1, m, n, real,
                                              da.data(), a.stride, real, ds.data(), real, du.data(), m, real, dv.data(),
                                              n + 1, real, device, host);
        },
        [&](void* device, size_t bytes, void* host, size_t host_bytes, int* at) {
          return cusolverDnXgesvdp(this->handle_, this->params_, CUSOLVER_EIG_MODE_VECTOR, 1, m, n, real, da.data(),
                                   a.stride, real, ds.data(), real, du.data(), m, real, dv.data(), n + 1, real, device,
                                   bytes, host, host_bytes, at, &error);
        });
    ASSERT_EQ(info, 0);
    EXPECT_EQ(error, 0);
    const Columns<T> v{n, 4, n + 1, dv.values()};
    expect_svd(a, Columns<T>{m, 4, m, du.values()}, ds.values(), [&](int j, int k) { return v.at(j, k); });
  }
}

TYPED_TEST(Solver, WrongArgumentsAreRefused) {
  using T = TypeParam;
  constexpr cudaDataType real = real_type<T>;
  constexpr auto other = real_type<std::conditional_t<std::is_same_v<T, float>, double, float>>;
  const DeviceArray<T> a(16), w(4);
  size_t bytes = 0;
  const auto query = [&](int64_t n, int64_t stride, cudaDataType w_type) {
    return cusolverDnXsyevd_bufferSize(this->handle_, this->params_, CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_LOWER,
                                       n, real, a.data(), stride, w_type, w.data(), real, &bytes, &bytes);
  };
  EXPECT_EQ(query(4, 4, real), CUSOLVER_STATUS_SUCCESS);
  EXPECT_EQ(query(4, 3, real), CUSOLVER_STATUS_INVALID_VALUE);
  EXPECT_EQ(query(-1, 4, real), CUSOLVER_STATUS_INVALID_VALUE);
  EXPECT_EQ(query(4, 4, other), CUSOLVER_STATUS_INVALID_VALUE);
  fail_call("cusolverDnXsyevd_bufferSize", 1, CUSOLVER_STATUS_INTERNAL_ERROR);
  EXPECT_EQ(query(4, 4, real), CUSOLVER_STATUS_INTERNAL_ERROR);
}

TYPED_TEST(Solver, InfoReadWithoutAWaitRaces) {
  using T = TypeParam;
  const Columns<T> a = random_lower<T>(4, 1, 7);
  this->for_each_seed([&] {
    const DeviceArray<T> da(a.values), workspace(1024);
    const DeviceArray<int> info(1);
    size_t device_bytes = 0;
    size_t host_bytes = 0;
    ASSERT_EQ(cusolverDnXpotrf_bufferSize(this->handle_, this->params_, CUBLAS_FILL_MODE_LOWER, 4, this->type,
                                          da.data(), a.stride, this->type, &device_bytes, &host_bytes),
              CUSOLVER_STATUS_SUCCESS);
    ASSERT_EQ(cusolverDnXpotrf(this->handle_, this->params_, CUBLAS_FILL_MODE_LOWER, 4, this->type, da.data(), a.stride,
                               this->type, workspace.data(), device_bytes, nullptr, host_bytes, info.data()),
              CUSOLVER_STATUS_SUCCESS);
    int value = -1;
    const TestStream other;
    static_cast<void>(cudaMemcpyAsync(&value, info.data(), sizeof(value), cudaMemcpyDeviceToHost, other.get()));
    EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
    EXPECT_THAT(fault(), HasSubstr("data race"));
    reset();
  });
}

}  // namespace
}  // namespace emulated::test
