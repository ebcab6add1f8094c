// cuBLAS and cuBLASLt of the stand-in against plain loops, and what they refuse.
#include <cublasLt.h>
#include <cublas_v2.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/types.h"
#include "tests/kernels/support.h"
#include "tests/simt/cuda/support.h"

namespace emulated::test {
namespace {

using subspect::kernels::bfloat16;
using subspect::kernels::to_float;
using subspect::kernels::test::random_values;
using ::testing::HasSubstr;

/// A matrix by columns on the host: element (i, j) of op(M), as a double.
template <class T>
struct Stored {
  std::vector<T> values;
  int rows;
  int cols;
  int stride;
  bool transposed;

  double at(int i, int j) const {
    const int row = transposed ? j : i;
    const int col = transposed ? i : j;
    return static_cast<double>(to_float(values[static_cast<size_t>(col * stride + row)]));
  }
};

template <>
double Stored<double>::at(int i, int j) const {
  return values[static_cast<size_t>((transposed ? i : j) * stride + (transposed ? j : i))];
}

template <class T>
std::vector<T> random_of(int64_t count, uint64_t seed) {
  if constexpr (std::is_same_v<T, double>) {
    const std::vector<float> narrow = random_values<float>(count, seed);
    return {narrow.begin(), narrow.end()};
  } else {
    return random_values<T>(count, seed);
  }
}

/// op(M) is [rows, cols]; columns are `gap` elements longer than need be.
template <class T>
Stored<T> random_matrix(int rows, int cols, bool transposed, int gap, uint64_t seed) {
  const int stored_rows = transposed ? cols : rows;
  const int stored_cols = transposed ? rows : cols;
  const int stride = stored_rows + gap;
  return {random_of<T>(stride * stored_cols, seed), stored_rows, stored_cols, stride, transposed};
}

struct ProductCase {
  int m, n, k;
  bool ta, tb;
  double alpha, beta;
};

template <class T, class Y>
double expected_element(const ProductCase& p, const Stored<T>& a, const Stored<T>& b, const Stored<Y>& c, int i,
                        int j) {
  double sum = 0;
  for (int l = 0; l < p.k; ++l) sum += a.at(i, l) * b.at(l, j);
  return p.alpha * sum + (p.beta == 0 ? 0 : p.beta * c.at(i, j));
}

template <class T>
double tolerance(double expected, int depth) {
  const double rounding = std::is_same_v<T, bfloat16> ? 0x1p-8 : std::is_same_v<T, float> ? 0x1p-23 : 0x1p-50;
  return rounding * std::abs(expected) + (std::is_same_v<T, double> ? 1e-13 : 1e-6) * depth;
}

constexpr ProductCase products[] = {
    {5, 7, 3, false, false, 1, 0}, {5, 7, 3, true, false, 2, 1},    {4, 3, 9, false, true, -1, 0.5},
    {1, 6, 4, true, true, 1, 0},   {17, 1, 5, false, false, 1, -1},
};

class Blas : public EmulatedCase {
 protected:
  void SetUp() override {
    EmulatedCase::SetUp();
    ASSERT_EQ(cublasCreate(&handle_), CUBLAS_STATUS_SUCCESS);
    ASSERT_EQ(cublasSetStream(handle_, stream_.get()), CUBLAS_STATUS_SUCCESS);
  }
  void TearDown() override {
    EXPECT_EQ(cublasDestroy(handle_), CUBLAS_STATUS_SUCCESS);
    EmulatedCase::TearDown();
  }

  template <class T>
  void check_product(const ProductCase& p) {
    const auto a = random_matrix<T>(p.m, p.k, p.ta, 2, 1);
    const auto b = random_matrix<T>(p.k, p.n, p.tb, 0, 2);
    const auto c = random_matrix<T>(p.m, p.n, false, 3, 3);
    const DeviceArray<T> da(a.values), db(b.values), dc(c.values);
    T alpha = static_cast<T>(p.alpha);
    T beta = static_cast<T>(p.beta);
    const cublasOperation_t op_a = p.ta ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t op_b = p.tb ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasStatus_t status{};
    if constexpr (std::is_same_v<T, float>) {
      status = cublasSgemm(handle_, op_a, op_b, p.m, p.n, p.k, &alpha, da.data(), a.stride, db.data(), b.stride, &beta,
                           dc.data(), c.stride);
    } else {
      status = cublasDgemm(handle_, op_a, op_b, p.m, p.n, p.k, &alpha, da.data(), a.stride, db.data(), b.stride, &beta,
                           dc.data(), c.stride);
    }
    ASSERT_EQ(status, CUBLAS_STATUS_SUCCESS);
    alpha = beta = 100;  // read at the call
    EXPECT_EQ(queued_operations(), 1);
    const Stored<T> result{dc.values(), c.rows, c.cols, c.stride, false};
    for (int j = 0; j < p.n; ++j) {
      for (int i = 0; i < c.stride; ++i) {
        const double expected = i < p.m ? expected_element(p, a, b, c, i, j) : c.at(i, j);
        ASSERT_NEAR(result.at(i, j), expected, i < p.m ? tolerance<T>(expected, p.k) : 0) << i << ", " << j;
      }
    }
  }

  TestStream stream_;
  cublasHandle_t handle_ = nullptr;
};

TEST_F(Blas, SgemmIsTheProduct) {
  for (const ProductCase& p : products) check_product<float>(p);
}

TEST_F(Blas, DgemmIsTheProduct) {
  for (const ProductCase& p : products) check_product<double>(p);
}

TEST_F(Blas, GemmExRoundsOnce) {
  constexpr ProductCase p{5, 4, 30, true, false, 1, 0};
  const auto a = random_matrix<bfloat16>(p.m, p.k, p.ta, 2, 1);
  const auto b = random_matrix<bfloat16>(p.k, p.n, p.tb, 0, 2);
  const Stored<bfloat16> c{std::vector<bfloat16>(20), 5, 4, 5, false};
  const DeviceArray<bfloat16> da(a.values), db(b.values), dc(20);
  const float one = 1;
  const float zero = 0;
  const auto call = [&](cudaDataType result, cublasComputeType_t compute) {
    return cublasGemmEx(handle_, CUBLAS_OP_T, CUBLAS_OP_N, p.m, p.n, p.k, &one, da.data(), CUDA_R_16BF, a.stride,
                        db.data(), CUDA_R_16BF, b.stride, &zero, dc.data(), result, 5, compute, CUBLAS_GEMM_DEFAULT);
  };
  EXPECT_EQ(call(CUDA_R_16BF, CUBLAS_COMPUTE_16F), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(call(CUDA_R_64F, CUBLAS_COMPUTE_32F), CUBLAS_STATUS_NOT_SUPPORTED);
  ASSERT_EQ(call(CUDA_R_16BF, CUBLAS_COMPUTE_32F), CUBLAS_STATUS_SUCCESS);
  const Stored<bfloat16> result{dc.values(), 5, 4, 5, false};
  for (int j = 0; j < p.n; ++j) {
    for (int i = 0; i < p.m; ++i) {
      const double expected = expected_element(p, a, b, c, i, j);
      EXPECT_NEAR(result.at(i, j), expected, tolerance<bfloat16>(expected, p.k));
    }
  }
}

TEST_F(Blas, WrongSizesAreRefused) {
  const DeviceArray<float> x(64);
  const float one = 1;
  const auto call = [&](int m, int lda, int ldb, int ldc) {
    return cublasSgemm(handle_, CUBLAS_OP_N, CUBLAS_OP_N, m, 4, 4, &one, x.data(), lda, x.data(), ldb, &one, x.data(),
                       ldc);
  };
  EXPECT_EQ(call(4, 3, 4, 4), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(call(4, 4, 3, 4), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(call(4, 4, 4, 3), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(call(-1, 4, 4, 4), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(cublasSgemm(nullptr, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &one, x.data(), 4, x.data(), 4, &one, x.data(), 4),
            CUBLAS_STATUS_NOT_INITIALIZED);
  EXPECT_EQ(cublasSetMathMode(handle_, CUBLAS_TF32_TENSOR_OP_MATH), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(queued_operations(), 0);
  EXPECT_EQ(call(4, 21, 4, 4), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(cudaStreamSynchronize(stream_.get()), cudaErrorLaunchFailure) << "beyond the end of x";
  EXPECT_THAT(fault(), HasSubstr("out of bounds"));
}

TEST_F(Blas, AProductWithoutAnEventRaces) {
  for_each_seed([this] {
    const TestStream producer;
    const DeviceArray<float> x(64), y(64);
    producer.fill(x.data(), 1, 64);
    const float one = 1;
    const float zero = 0;
    ASSERT_EQ(
        cublasSgemm(handle_, CUBLAS_OP_N, CUBLAS_OP_N, 8, 8, 8, &one, x.data(), 8, x.data(), 8, &zero, y.data(), 8),
        CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
    EXPECT_THAT(fault(), HasSubstr("data race"));
    reset();
  });
}

TEST_F(Blas, SyrkFillsOneTriangle) {
  constexpr int n = 5;
  constexpr int k = 3;
  for (const bool transposed : {false, true}) {
    for (const bool lower : {false, true}) {
      const auto a = random_matrix<double>(n, k, transposed, 1, 4);
      const Stored<double> c = random_matrix<double>(n, n, false, 1, 5);
      const DeviceArray<double> da(a.values), dc(c.values);
      const double alpha = 2;
      const double beta = 0.5;
      ASSERT_EQ(cublasDsyrk(handle_, lower ? CUBLAS_FILL_MODE_LOWER : CUBLAS_FILL_MODE_UPPER,
                            transposed ? CUBLAS_OP_T : CUBLAS_OP_N, n, k, &alpha, da.data(), a.stride, &beta, dc.data(),
                            c.stride),
                CUBLAS_STATUS_SUCCESS);
      const Stored<double> result{dc.values(), n, n, c.stride, false};
      for (int j = 0; j < n; ++j) {
        for (int i = 0; i < n; ++i) {
          double sum = 0;
          for (int l = 0; l < k; ++l) sum += a.at(i, l) * a.at(j, l);
          const bool written = lower ? i >= j : i <= j;
          EXPECT_NEAR(result.at(i, j), written ? 2 * sum + 0.5 * c.at(i, j) : c.at(i, j), 1e-12);
        }
      }
    }
  }
}

TEST_F(Blas, DgmmScalesRowsOrColumns) {
  const auto a = random_matrix<float>(3, 4, false, 2, 6);
  const std::vector<float> x = random_values<float>(4, 7);
  for (const bool left : {false, true}) {
    const DeviceArray<float> da(a.values), dx(x), dc(12);
    ASSERT_EQ(cublasSdgmm(handle_, left ? CUBLAS_SIDE_LEFT : CUBLAS_SIDE_RIGHT, 3, 4, da.data(), a.stride, dx.data(), 1,
                          dc.data(), 3),
              CUBLAS_STATUS_SUCCESS);
    const Stored<float> result{dc.values(), 3, 4, 3, false};
    for (int j = 0; j < 4; ++j) {
      for (int i = 0; i < 3; ++i) {
        EXPECT_FLOAT_EQ(static_cast<float>(result.at(i, j)),
                        static_cast<float>(a.at(i, j)) * x[static_cast<size_t>(left ? i : j)]);
      }
    }
  }
}

TEST_F(Blas, TrsmSolves) {
  constexpr int n = 4;
  constexpr int cols = 3;
  auto l = random_matrix<double>(n, n, false, 1, 8);
  for (int i = 0; i < n; ++i) l.values[static_cast<size_t>(i * l.stride + i)] = 3 + i;
  const auto b = random_matrix<double>(n, cols, false, 2, 9);
  for (const bool transposed : {false, true}) {
    const DeviceArray<double> dl(l.values), db(b.values);
    const double alpha = 2;
    ASSERT_EQ(cublasDtrsm(handle_, CUBLAS_SIDE_LEFT, CUBLAS_FILL_MODE_LOWER, transposed ? CUBLAS_OP_T : CUBLAS_OP_N,
                          CUBLAS_DIAG_NON_UNIT, n, cols, &alpha, dl.data(), l.stride, db.data(), b.stride),
              CUBLAS_STATUS_SUCCESS);
    const Stored<double> x{db.values(), n, cols, b.stride, false};
    for (int j = 0; j < cols; ++j) {
      for (int i = 0; i < n; ++i) {
        double sum = 0;
        for (int t = 0; t < n; ++t) {
          const double entry = transposed ? (t >= i ? l.at(t, i) : 0) : (t <= i ? l.at(i, t) : 0);
          sum += entry * x.at(t, j);
        }
        EXPECT_NEAR(sum, 2 * b.at(i, j), 1e-12);
      }
    }
  }
}

// ---- cuBLASLt

/// The descriptors of D = op(A) op(B) + beta C, with a bias if asked for.
struct LtProduct {
  LtProduct(cublasComputeType_t compute, cudaDataType_t factors, cudaDataType_t result, const ProductCase& p,
            const std::vector<int>& strides) {
    EXPECT_EQ(cublasLtMatmulDescCreate(&description, compute, CUDA_R_32F), CUBLAS_STATUS_SUCCESS);
    set(CUBLASLT_MATMUL_DESC_TRANSA, p.ta ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, p.tb ? CUBLAS_OP_T : CUBLAS_OP_N);
    const auto layout = [](cublasLtMatrixLayout_t* to, cudaDataType_t type, int rows, int cols, int stride) {
      EXPECT_EQ(cublasLtMatrixLayoutCreate(to, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(cols), stride),
                CUBLAS_STATUS_SUCCESS);
    };
    layout(&a, factors, p.ta ? p.k : p.m, p.ta ? p.m : p.k, strides[0]);
    layout(&b, factors, p.tb ? p.n : p.k, p.tb ? p.k : p.n, strides[1]);
    layout(&c, result, p.m, p.n, strides[2]);
    EXPECT_EQ(cublasLtMatmulPreferenceCreate(&preference), CUBLAS_STATUS_SUCCESS);
  }
  ~LtProduct() {
    cublasLtMatmulDescDestroy(description);
    for (cublasLtMatrixLayout_t layout : {a, b, c}) cublasLtMatrixLayoutDestroy(layout);
    cublasLtMatmulPreferenceDestroy(preference);
  }
  LtProduct(const LtProduct&) = delete;
  LtProduct& operator=(const LtProduct&) = delete;

  template <class Value>
  void set(cublasLtMatmulDescAttributes_t attribute, const Value& value) const {
    EXPECT_EQ(cublasLtMatmulDescSetAttribute(description, attribute, &value, sizeof(value)), CUBLAS_STATUS_SUCCESS);
  }
  template <class Value>
  void prefer(cublasLtMatmulPreferenceAttributes_t attribute, const Value& value) const {
    EXPECT_EQ(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)),
              CUBLAS_STATUS_SUCCESS);
  }
  std::vector<cublasLtMatmulHeuristicResult_t> propose(cublasLtHandle_t handle, cublasStatus_t expected) const {
    std::vector<cublasLtMatmulHeuristicResult_t> results(8);
    int count = 0;
    EXPECT_EQ(cublasLtMatmulAlgoGetHeuristic(handle, description, a, b, c, c, preference, 8, results.data(), &count),
              expected);
    results.resize(static_cast<size_t>(count));
    return results;
  }

  cublasLtMatmulDesc_t description = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
};

class BlasLt : public EmulatedCase {
 protected:
  void SetUp() override {
    EmulatedCase::SetUp();
    ASSERT_EQ(cublasLtCreate(&handle_), CUBLAS_STATUS_SUCCESS);
  }
  void TearDown() override {
    EXPECT_EQ(cublasLtDestroy(handle_), CUBLAS_STATUS_SUCCESS);
    EmulatedCase::TearDown();
  }

  template <class T, class Y>
  void check_product(const ProductCase& p, cublasComputeType_t compute, bool biased) {
    const cudaDataType_t factors = std::is_same_v<T, float> ? CUDA_R_32F : CUDA_R_16BF;
    const cudaDataType_t type = std::is_same_v<Y, float> ? CUDA_R_32F : CUDA_R_16BF;
    const auto a = random_matrix<T>(p.m, p.k, p.ta, 1, 1);
    const auto b = random_matrix<T>(p.k, p.n, p.tb, 2, 2);
    const auto c = random_matrix<Y>(p.m, p.n, false, 3, 3);
    const std::vector<Y> bias = random_values<Y>(p.m, 4);
    const DeviceArray<T> da(a.values), db(b.values);
    const DeviceArray<Y> dc(c.values), dbias(bias);
    const LtProduct product(compute, factors, type, p, {a.stride, b.stride, c.stride});
    product.prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{8192});
    if (biased) {
      product.set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      const void* pointer = dbias.data();
      product.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, pointer);
    }
    const DeviceArray<float> workspace(2048);
    const auto proposals = product.propose(handle_, CUBLAS_STATUS_SUCCESS);
    ASSERT_EQ(proposals.size(), 2U) << "of 4 KiB and of none";
    for (const auto& proposal : proposals) {
      dc.set(c.values);
      const auto alpha = static_cast<float>(p.alpha);
      const auto beta = static_cast<float>(p.beta);
      ASSERT_EQ(cublasLtMatmul(handle_, product.description, &alpha, da.data(), product.a, db.data(), product.b, &beta,
                               dc.data(), product.c, dc.data(), product.c, &proposal.algo, workspace.data(),
                               proposal.workspaceSize, stream_.get()),
                CUBLAS_STATUS_SUCCESS)
          << refusal();
      const Stored<Y> result{dc.values(), c.rows, c.cols, c.stride, false};
      for (int j = 0; j < p.n; ++j) {
        for (int i = 0; i < p.m; ++i) {
          const double expected = expected_element(p, a, b, c, i, j) +
                                  (biased ? static_cast<double>(to_float(bias[static_cast<size_t>(i)])) : 0);
          ASSERT_NEAR(result.at(i, j), expected, tolerance<Y>(expected, p.k)) << i << ", " << j;
        }
      }
    }
  }

  TestStream stream_;
  cublasLtHandle_t handle_ = nullptr;
};

TEST_F(BlasLt, MatmulIsTheProduct) {
  for (const ProductCase& p : products) {
    for (const bool biased : {false, true}) {
      check_product<float, float>(p, CUBLAS_COMPUTE_32F_PEDANTIC, biased);
      check_product<bfloat16, bfloat16>(p, CUBLAS_COMPUTE_32F, biased);
      check_product<bfloat16, float>(p, CUBLAS_COMPUTE_32F, biased);
    }
  }
}

TEST_F(BlasLt, WrongLayoutsAreRefused) {
  constexpr ProductCase p{4, 4, 4, false, false, 1, 0};
  for (const std::vector<int>& strides : {std::vector<int>{3, 4, 4}, {4, 3, 4}, {4, 4, 3}}) {
    const LtProduct product(CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_32F, p, strides);
    EXPECT_TRUE(product.propose(handle_, CUBLAS_STATUS_INVALID_VALUE).empty());
  }
  const LtProduct types(CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_16BF, p, {4, 4, 4});
  EXPECT_TRUE(types.propose(handle_, CUBLAS_STATUS_NOT_SUPPORTED).empty());
  const LtProduct tf32(CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F, CUDA_R_32F, p, {4, 4, 4});
  EXPECT_TRUE(tf32.propose(handle_, CUBLAS_STATUS_NOT_SUPPORTED).empty());
}

TEST_F(BlasLt, AlgorithmsHoldOnlyForTheirAlignmentAndWorkspace) {
  constexpr ProductCase p{4, 4, 4, false, false, 1, 0};
  const LtProduct product(CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_32F, p, {4, 4, 4});
  product.prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{4096});
  const auto proposals = product.propose(handle_, CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(proposals.size(), 2U);
  ASSERT_EQ(proposals[0].workspaceSize, 4096U);
  const DeviceArray<float> x(32), y(32), workspace(1024);
  const float one = 1;
  const float zero = 0;
  const auto call = [&](const float* a, size_t workspace_bytes, const cublasLtMatmulAlgo_t& algorithm) {
    return cublasLtMatmul(handle_, product.description, &one, a, product.a, x.data(), product.b, &zero, y.data(),
                          product.c, y.data(), product.c, &algorithm, workspace.data(), workspace_bytes, stream_.get());
  };
  EXPECT_EQ(call(x.data() + 1, 4096, proposals[0].algo), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_THAT(refusal(), HasSubstr("aligned"));
  EXPECT_EQ(call(x.data(), 4095, proposals[0].algo), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_THAT(refusal(), HasSubstr("workspace"));
  EXPECT_EQ(call(x.data(), 4096, cublasLtMatmulAlgo_t{}), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(call(x.data(), 0, proposals[1].algo), CUBLAS_STATUS_SUCCESS);
  cublasLtMatmulHeuristicResult_t checked{};
  EXPECT_EQ(cublasLtMatmulAlgoCheck(handle_, product.description, product.a, product.b, product.c, product.c,
                                    &proposals[0].algo, &checked),
            CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(checked.workspaceSize, 4096U);
  const cublasLtMatmulAlgo_t foreign{{1, 2, 3}};
  EXPECT_EQ(cublasLtMatmulAlgoCheck(handle_, product.description, product.a, product.b, product.c, product.c, &foreign,
                                    &checked),
            CUBLAS_STATUS_NOT_SUPPORTED);
}

TEST_F(BlasLt, TheWorkspaceIsOverwritten) {
  for_each_seed([this] {
    constexpr ProductCase p{4, 4, 4, false, false, 1, 0};
    const LtProduct product(CUBLAS_COMPUTE_32F, CUDA_R_32F, CUDA_R_32F, p, {4, 4, 4});
    product.prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{4096});
    const auto proposals = product.propose(handle_, CUBLAS_STATUS_SUCCESS);
    const DeviceArray<float> x(std::vector<float>(16, 1)), y(16), workspace(std::vector<float>(1024, 1));
    const float one = 1;
    const float zero = 0;
    const TestStream other;
    for (const cudaStream_t stream : {stream_.get(), other.get()}) {
      const bool first = stream == stream_.get();
      const DeviceArray<float>& result = first ? y : x;
      EXPECT_EQ(std::isnan(workspace.values()[7]), !first);
      ASSERT_EQ(cublasLtMatmul(handle_, product.description, &one, x.data(), product.a, x.data(), product.b, &zero,
                               result.data(), product.c, result.data(), product.c, &proposals[0].algo, workspace.data(),
                               4096, stream),
                CUBLAS_STATUS_SUCCESS);
    }
    stream_.fill(workspace.data(), 0, 1);  // while the other stream's product may use it
    EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
    EXPECT_THAT(fault(), HasSubstr("data race"));
    reset();
  });
}

TEST_F(BlasLt, PlannedFailuresCarryTheirStatus) {
  fail_call("cublasLtCreate", 1, CUBLAS_STATUS_NOT_INITIALIZED);
  cublasLtHandle_t handle = nullptr;
  EXPECT_EQ(cublasLtCreate(&handle), CUBLAS_STATUS_NOT_INITIALIZED);
  EXPECT_STREQ(cublasLtGetStatusString(CUBLAS_STATUS_NOT_INITIALIZED), "the library was not initialized");
}

}  // namespace
}  // namespace emulated::test
