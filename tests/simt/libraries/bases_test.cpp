// Bases of many matrices on the emulated device: batches, the host beside the device, and what goes wrong in them.
#include "runtime/linalg/bases.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "runtime/error.h"
#include "runtime/linalg/products.h"
#include "tests/runtime/linalg/oracle.h"
#include "tests/simt/cuda/emulated.h"

namespace subspect::runtime::linalg {
namespace {

using testing::Dense;

/// Matrices of several shapes: four whose smaller side is 12, one of 17, a zero, and one that nobody asks for.
std::vector<Dense> matrices() {
  return {testing::gaussian(12, 30, 1), testing::gaussian(25, 12, 2), Dense(12, 14),
          testing::gaussian(17, 40, 3), testing::gaussian(12, 30, 4), Dense(0, 0),
          testing::gaussian(12, 12, 5)};
}

class EmulatedBases : public ::testing::Test {
 protected:
  void SetUp() override { emulated::reset(); }
  void TearDown() override {
    EXPECT_EQ(emulated::fault(), "");
    cuda_.reset();
    emulated::reset();
  }

  std::map<size_t, LeftBasis> compute(const std::vector<Dense>& all, const BasisOptions& options) {
    std::map<size_t, LeftBasis> bases;
    for_each_basis(
        *cuda_, all.size(),
        [&](size_t i) -> std::optional<BasisRequest> {
          if (all[i].rows == 0) return std::nullopt;
          return BasisRequest{testing::to_tensor(*cuda_, all[i]), "matrix " + std::to_string(i), options};
        },
        [&](size_t i, LeftBasis basis) { EXPECT_TRUE(bases.emplace(i, std::move(basis)).second) << i; });
    return bases;
  }

  /// Every basis against that of the matrix alone, on the CPU.
  void expect_right(const std::vector<Dense>& all, const std::map<size_t, LeftBasis>& bases) {
    ASSERT_EQ(bases.size(), all.size());
    for (const auto& [i, basis] : bases) {
      SCOPED_TRACE(i);
      if (all[i].rows == 0) {
        EXPECT_FALSE(basis.matrix().defined());
        continue;
      }
      const LeftBasis expected =
          LeftBasis::compute(*cpu_, testing::to_tensor(*cpu_, all[i]), "w", {.method = BasisMethod::gram});
      ASSERT_EQ(basis.rank(), expected.rank());
      EXPECT_EQ(basis.method(), BasisMethod::gram);
      for (size_t k = 0; k < basis.singular_values().size(); ++k) {
        EXPECT_NEAR(basis.singular_values()[k], expected.singular_values()[k], 1e-9 * expected.singular_values()[0]);
      }
      if (basis.rank() == 0) continue;
      EXPECT_LT(basis.residual(), 1e-6);
      EXPECT_LT(basis.orthogonality(), 1e-6);
    }
  }

  std::shared_ptr<Stream> cpu_ = Stream::open({}, 1);
  std::shared_ptr<Stream> cuda_ = Stream::open({DeviceType::cuda, 0});
};

TEST_F(EmulatedBases, GramMatricesOfOneSideAreOneCall) {
  const std::vector<Dense> all = matrices();
  expect_right(all, compute(all, {.method = BasisMethod::gram}));
  EXPECT_EQ(emulated::calls("cusolverDnXsyevBatched"), 1);  // four of side 12
  EXPECT_EQ(emulated::calls("cusolverDnXsyevd"), 1);        // the one of 17
}

TEST_F(EmulatedBases, TheHostSolvesThem) {
  const std::vector<Dense> all = matrices();
  expect_right(all, compute(all, {.method = BasisMethod::gram, .eigensolver = Eigensolver::host}));
  for (const char* call : {"cusolverDnXsyevBatched", "cusolverDnXsyevd"}) EXPECT_EQ(emulated::calls(call), 0) << call;
}

TEST_F(EmulatedBases, OtherMethodsAreNotBatched) {
  const std::vector<Dense> all = {testing::gaussian(40, 50, 1), testing::gaussian(40, 60, 2)};
  for (const auto& [i, basis] : compute(all, {.method = BasisMethod::gram, .rank = 4})) {
    EXPECT_EQ(basis.rank(), 4) << i;
  }
  for (const auto& [i, basis] : compute(all, {.method = BasisMethod::exact})) {
    EXPECT_EQ(basis.method(), BasisMethod::exact) << i;
  }
  EXPECT_EQ(emulated::calls("cusolverDnXsyevBatched"), 0);
}

TEST_F(EmulatedBases, TheMatrixThatDoesNotConvergeIsNamedOrDecomposedAnotherWay) {
  std::vector<Dense> all = {testing::gaussian(70, 80, 1), testing::gaussian(70, 90, 2), testing::gaussian(70, 75, 3)};
  emulated::fail_convergence("cusolverDnXsyevBatched", 2);
  const std::map<size_t, LeftBasis> bases = compute(all, {});  // auto
  EXPECT_EQ(bases.at(0).method(), BasisMethod::gram);
  EXPECT_EQ(bases.at(1).method(), BasisMethod::exact);
  EXPECT_EQ(bases.at(2).method(), BasisMethod::gram);
  emulated::fail_convergence("cusolverDnXsyevBatched", 3);
  try {
    compute(all, {.method = BasisMethod::gram});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("matrix 2"), std::string::npos) << error.what();
  }
}

TEST_F(EmulatedBases, FailuresAreErrors) {
  const std::vector<Dense> all = {testing::gaussian(9, 12, 1), testing::gaussian(9, 15, 2)};
  for (const char* function : {"cublasDsyrk", "cusolverDnXsyevBatched", "cusolverDnXsyevBatched_bufferSize"}) {
    emulated::fail_call(function, 1, 7);
    EXPECT_THROW(compute(all, {.method = BasisMethod::gram}), Error) << function;
  }
  // The second one fails while the host works on the first.
  emulated::fail_call("cublasDsyrk", 2, 7);
  EXPECT_THROW(compute(all, {.method = BasisMethod::gram, .eigensolver = Eigensolver::host}), Error);
  expect_right(all, compute(all, {.method = BasisMethod::gram}));
}

}  // namespace
}  // namespace subspect::runtime::linalg
