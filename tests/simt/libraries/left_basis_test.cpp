// Linear algebra on the emulated device against the CPU: every method, matrices on the device and on the host, the
// degenerate ones, and what the libraries refuse. The CPU's own results are tested in tests/runtime/linalg.
#include "runtime/linalg/left_basis.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "runtime/error.h"
#include "runtime/linalg/overlap.h"
#include "runtime/linalg/products.h"
#include "runtime/linalg/random_basis.h"
#include "runtime/memory.h"
#include "tests/runtime/linalg/oracle.h"
#include "tests/simt/cuda/emulated.h"

namespace subspect::runtime::linalg {
namespace {

using testing::Dense;

constexpr Device gpu{DeviceType::cuda, 0};

Dense downloaded(Stream& stream, const Tensor& tensor) {
  return testing::to_dense(on_host(stream, tensor));
}

/// U^T U - I and U U^T against the CPU's.
void expect_same_subspace(const Dense& ours, const Dense& theirs) {
  ASSERT_EQ(ours.rows, theirs.rows);
  const auto projector = [](const Dense& rows) { return testing::product(testing::transpose(rows), rows); };
  EXPECT_LT(testing::largest_entry(testing::difference(projector(ours), projector(theirs))), 1e-5);
  EXPECT_LT(testing::largest_entry(
                testing::difference(testing::product(ours, testing::transpose(ours)), testing::identity(ours.rows))),
            1e-6);
}

class EmulatedLinalg : public ::testing::Test {
 protected:
  void SetUp() override { emulated::reset(); }
  void TearDown() override {
    EXPECT_EQ(emulated::fault(), "");
    cuda_.reset();
    emulated::reset();
  }

  void compare(const Dense& v, const BasisOptions& options, bool on_device) {
    const Tensor host = testing::to_tensor(*cpu_, v);
    const Tensor d = testing::to_tensor(*cpu_, testing::gaussian(v.rows, 9, 5));
    const LeftBasis expected = LeftBasis::compute(*cpu_, host, "w", options);
    const LeftBasis basis = LeftBasis::compute(*cuda_, on_device ? host.clone(*cuda_) : host, "w", options);
    ASSERT_EQ(basis.rank(), expected.rank());
    EXPECT_EQ(basis.method(), expected.method());
    EXPECT_EQ(basis.truncated(), expected.truncated());
    EXPECT_NEAR(basis.squared_norm(), expected.squared_norm(), 1e-13 * expected.squared_norm());
    for (int64_t i = 0; i < basis.rank(); ++i) {
      const auto at = static_cast<size_t>(i);
      EXPECT_NEAR(basis.singular_values()[at], expected.singular_values()[at], 1e-9 * expected.singular_values()[0]);
    }
    EXPECT_LT(basis.orthogonality(), 1e-6);
    EXPECT_LT(basis.residual(), options.method == BasisMethod::randomized ? options.tolerance : 1e-6);
    const int64_t k = (basis.rank() + 1) / 2;
    expect_same_subspace(downloaded(*cuda_, basis.vectors(*cuda_, k)), testing::to_dense(expected.vectors(*cpu_, k)));
    const Coefficients c = basis.coefficients(*cuda_, on_device ? d.clone(*cuda_) : d);
    const Coefficients expected_c = expected.coefficients(*cpu_, d);
    double kept = 0.0;
    double expected_kept = 0.0;
    for (int64_t i = 0; i < k; ++i) {
      kept += c.row_energy[static_cast<size_t>(i)];
      expected_kept += expected_c.row_energy[static_cast<size_t>(i)];
    }
    EXPECT_NEAR(kept / expected_kept, 1.0, 1e-6);
    const Tensor projected = Tensor::zeros(*cuda_, {v.rows, 9}, DType::float32);
    const Tensor expected_projected = Tensor::zeros(*cpu_, {v.rows, 9}, DType::float32);
    add_projection(*cuda_, basis.vectors(*cuda_, k), c.values.narrow(0, 0, k), -0.5, projected);
    add_projection(*cpu_, expected.vectors(*cpu_, k), expected_c.values.narrow(0, 0, k), -0.5, expected_projected);
    EXPECT_LT(testing::largest_entry(
                  testing::difference(downloaded(*cuda_, projected), testing::to_dense(expected_projected))),
              1e-5);
  }

  std::shared_ptr<Stream> cpu_ = Stream::open({}, 1);
  std::shared_ptr<Stream> cuda_ = Stream::open(gpu);
};

TEST_F(EmulatedLinalg, EveryMethodAgreesWithTheCpu) {
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{24, 24}, {18, 50}, {50, 18}}) {
    const Dense v = testing::with_spectrum(rows, cols, testing::power_law(18, 0.7), 3);
    for (const bool on_device : {true, false}) {
      SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(cols) + (on_device ? ", device" : ", host"));
      compare(v, {.method = BasisMethod::gram}, on_device);
      compare(v, {.method = BasisMethod::exact}, on_device);
      compare(v, {.method = BasisMethod::randomized, .rank = 4, .tolerance = 2e-6, .max_iterations = 200}, on_device);
    }
  }
}

TEST_F(EmulatedLinalg, LeadingEigenvectorsOfTheGramMatrix) {
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{40, 70}, {70, 40}}) {
    for (const Eigensolver solver : {Eigensolver::device, Eigensolver::host}) {
      SCOPED_TRACE(std::to_string(rows) + " rows, " + std::string(name(solver)));
      emulated::reset();
      compare(testing::with_spectrum(rows, cols, testing::power_law(40, 0.7), 3),
              {.method = BasisMethod::gram, .rank = 5, .eigensolver = solver}, true);
      const int64_t calls = solver == Eigensolver::device ? 1 : 0;
      EXPECT_EQ(emulated::calls("cusolverDnXsyevdx"), calls);
      EXPECT_EQ(emulated::calls("cusolverDnXsyevd"), 0);
      // Fewer directions than asked for: all are found, and that there are no others.
      compare(testing::with_spectrum(rows, cols, testing::power_law(3, 0.7), 3),
              {.method = BasisMethod::gram, .rank = 5, .eigensolver = solver}, true);
    }
  }
}

TEST_F(EmulatedLinalg, LeadingEigenvectorsThatDoNotConvergeAreFoundWithTheOthers) {
  const Tensor v = testing::to_tensor(*cuda_, testing::gaussian(40, 50, 4));
  emulated::fail_convergence("cusolverDnXsyevdx", 1);
  const LeftBasis basis = LeftBasis::compute(*cuda_, v, "w", {.method = BasisMethod::gram, .rank = 5});
  EXPECT_EQ(emulated::calls("cusolverDnXsyevd"), 1);
  EXPECT_EQ(basis.rank(), 40);
  EXPECT_LT(basis.residual(), 1e-6);
}

TEST_F(EmulatedLinalg, ASlowGpuLeavesEigenproblemsToTheHost) {
  EXPECT_EQ(choose_eigensolver(*cpu_, Eigensolver::host), Eigensolver::device);
  EXPECT_EQ(choose_eigensolver(*cuda_, Eigensolver::automatic), Eigensolver::device);
  const Tensor v = testing::to_tensor(*cuda_, testing::gaussian(12, 20, 4));
  LeftBasis::compute(*cuda_, v, "w", {.method = BasisMethod::gram});
  EXPECT_EQ(emulated::calls("cusolverDnXsyevd"), 1);
  emulated::reset({.compute_major = 8, .compute_minor = 9});
  EXPECT_EQ(choose_eigensolver(*cuda_, Eigensolver::automatic), Eigensolver::host);
  EXPECT_EQ(choose_eigensolver(*cuda_, Eigensolver::device), Eigensolver::device);
  LeftBasis::compute(*cuda_, v, "w", {.method = BasisMethod::gram});
  EXPECT_EQ(emulated::calls("cusolverDnXsyevd"), 0);
}

TEST_F(EmulatedLinalg, BlocksOfAMatrixOnTheHost) {
  // More rows than a block of 1024 has.
  const Dense v = testing::with_spectrum(1100, 6, testing::power_law(6, 0.5), 4);
  compare(v, {.method = BasisMethod::gram}, false);
  compare(v, {.method = BasisMethod::randomized, .rank = 2, .tolerance = 2e-6, .max_iterations = 200}, false);
}

TEST_F(EmulatedLinalg, IllConditionedTallMatrixIsRepaired) {
  std::vector<double> sigma(8);
  for (size_t i = 0; i < sigma.size(); ++i) sigma[i] = std::pow(10.0, -6.0 * static_cast<double>(i) / 7.0);
  const Dense v = testing::with_spectrum(90, 8, sigma, 21);
  const LeftBasis basis = LeftBasis::compute(*cuda_, testing::to_tensor(*cuda_, v), "w", {.method = BasisMethod::gram});
  ASSERT_EQ(basis.rank(), 8);
  EXPECT_LT(basis.orthogonality(), 1e-6);
  EXPECT_LT(basis.residual(), 1e-6);
}

TEST_F(EmulatedLinalg, DegenerateMatrices) {
  for (const BasisMethod method : {BasisMethod::gram, BasisMethod::exact, BasisMethod::randomized}) {
    SCOPED_TRACE(std::string(name(method)));
    const auto compute = [&](const Dense& v) {
      return LeftBasis::compute(*cuda_, testing::to_tensor(*cuda_, v), "w", {.method = method});
    };
    EXPECT_EQ(compute(Dense(5, 9)).rank(), 0);
    EXPECT_EQ(compute(testing::identity(7)).rank(), 7);
    Dense one(9, 4);
    one(5, 3) = -4.0;
    const LeftBasis basis = compute(one);
    ASSERT_EQ(basis.rank(), 1);
    EXPECT_NEAR(basis.singular_values()[0], 4.0, 1e-12);
    EXPECT_NEAR(std::abs(downloaded(*cuda_, basis.vectors(*cuda_, 1))(0, 5)), 1.0, 1e-7);
    Dense bad = testing::gaussian(6, 7, 3);
    bad(4, 2) = std::numeric_limits<double>::infinity();
    try {
      compute(bad);
      FAIL() << "no error";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("[4, 2]"), std::string::npos) << error.what();
    }
  }
}

TEST_F(EmulatedLinalg, TransposedHasTheRightSingularVectors) {
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{30, 12}, {12, 30}}) {
    const Dense v = testing::with_spectrum(rows, cols, testing::power_law(12, 1.0), 6);
    const LeftBasis left =
        LeftBasis::compute(*cuda_, testing::to_tensor(*cuda_, v), "w", {.method = BasisMethod::gram});
    const LeftBasis right = left.transposed(*cuda_, "w", {.method = BasisMethod::gram});
    const Dense truth = testing::transpose(testing::leading(testing::decompose(testing::transpose(v)).u, 5));
    expect_same_subspace(downloaded(*cuda_, right.vectors(*cuda_, 5)), truth);
  }
}

TEST_F(EmulatedLinalg, RandomBasisAndOverlap) {
  const Tensor a = random_basis(*cuda_, 40, 11, Philox(1)).vectors;
  const Tensor b = random_basis(*cuda_, 40, 7, Philox(2)).vectors;
  const Tensor expected_a = random_basis(*cpu_, 40, 11, Philox(1)).vectors;
  const Tensor expected_b = random_basis(*cpu_, 40, 7, Philox(2)).vectors;
  expect_same_subspace(downloaded(*cuda_, a), testing::to_dense(expected_a));
  const CrossOverlap overlap(*cuda_, a, b);
  const CrossOverlap expected(*cpu_, expected_a, expected_b);
  EXPECT_NEAR(overlap.mso(11, 7), expected.mso(11, 7), 1e-6);
  EXPECT_NEAR(overlap.mso(3, 5), expected.mso(3, 5), 1e-5);
  const std::vector<double> cosines = overlap.principal_cosines(*cuda_, 4, 6);
  const std::vector<double> expected_cosines = expected.principal_cosines(*cpu_, 4, 6);
  ASSERT_EQ(cosines.size(), 4U);
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(cosines[i], expected_cosines[i], 1e-5);
  EXPECT_NEAR(overlap.principal_cosines(*cuda_, 6, 4)[0], expected.principal_cosines(*cpu_, 6, 4)[0], 1e-5);
  // Dependent rows go through the Householder reflections.
  Dense rows = testing::gaussian(5, 60, 2);
  for (int64_t j = 0; j < 60; ++j) rows(3, j) = rows(1, j);
  const Tensor q = testing::to_tensor(*cuda_, rows);
  EXPECT_LT(orthonormalize_rows(*cuda_, q), 1e-6);
}

TEST_F(EmulatedLinalg, RowsOfTheHostAreGathered) {
  const Dense x = testing::gaussian(6, 5, 7);
  const Tensor host = testing::to_tensor(*cpu_, x);
  const Tensor out = Tensor::empty(*cuda_, {3, 5}, DType::float32);
  const std::vector<int64_t> index = {4, 0, 4};
  copy_rows(*cuda_, matrix_of<float>(host), matrix_of<float>(out), {index, {}, 2.0});
  const Dense got = downloaded(*cuda_, out);
  for (int64_t i = 0; i < 3; ++i) {
    for (int64_t j = 0; j < 5; ++j) EXPECT_EQ(got(i, j), 2.0 * x(index[static_cast<size_t>(i)], j));
  }
}

TEST_F(EmulatedLinalg, DifferenceThatDoesNotFitStaysOnTheHost) {
  const Dense x = testing::gaussian(2100, 40, 1);
  const Dense y = testing::gaussian(2100, 40, 2);
  const Tensor a = testing::to_tensor(*cpu_, x).to(*cpu_, DType::bfloat16);
  const Tensor b = testing::to_tensor(*cpu_, y);
  const Tensor expected = difference(*cpu_, a, b);
  EXPECT_EQ(difference(*cuda_, a, b).device(), gpu);
  cuda_.reset();
  emulated::reset({.memory_bytes = size_t{34} << 20});
  cuda_ = Stream::open(gpu);
  std::vector<Tensor> others;
  while (available_memory(*cuda_) > 800 << 10) others.push_back(Tensor::empty(*cuda_, {256 << 10}, DType::uint8));
  const Tensor ours = difference(*cuda_, a, b);
  EXPECT_EQ(ours.device().type, DeviceType::cpu);
  EXPECT_EQ(testing::to_dense(ours).values, testing::to_dense(expected).values);
  EXPECT_NEAR(squared_norm(*cuda_, ours) / squared_norm(*cpu_, expected), 1.0, 1e-13);
  EXPECT_NEAR(inner_product(*cuda_, ours, b) / inner_product(*cpu_, expected, b), 1.0, 1e-12);
}

TEST_F(EmulatedLinalg, FailuresOfTheLibrariesAreErrors) {
  const Tensor v = testing::to_tensor(*cuda_, testing::gaussian(9, 12, 1));
  for (const auto& [function, method] : {std::pair{"cublasDsyrk", BasisMethod::gram},
                                         {"cusolverDnXsyevd", BasisMethod::gram},
                                         {"cusolverDnXsyevd_bufferSize", BasisMethod::gram},
                                         {"cusolverDnXgesvd", BasisMethod::exact},
                                         {"cublasGemmEx", BasisMethod::randomized},
                                         {"cublasDtrsm", BasisMethod::randomized}}) {
    emulated::fail_call(function, 1, 7);
    EXPECT_THROW(LeftBasis::compute(*cuda_, v, "w", {.method = method}), Error) << function;
  }
  EXPECT_NO_THROW(LeftBasis::compute(*cuda_, v, "w", {.method = BasisMethod::gram}));
  const Tensor large = testing::to_tensor(*cuda_, testing::gaussian(40, 50, 1));
  for (const char* function : {"cusolverDnXsyevdx", "cusolverDnXsyevdx_bufferSize"}) {
    emulated::fail_call(function, 1, 7);
    EXPECT_THROW(LeftBasis::compute(*cuda_, large, "w", {.method = BasisMethod::gram, .rank = 5}), Error) << function;
  }
}

}  // namespace
}  // namespace subspect::runtime::linalg
