// What holds for the projection on the leading left singular vectors of any matrix: a projection (applied twice it is
// the same), Pythagoras, energies that grow with the rank, and agreement with the one of the transposed matrix.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>
#include <numeric>

#include "runtime/linalg/left_basis.h"
#include "tests/runtime/linalg/oracle.h"

namespace subspect::runtime::linalg {
namespace {

using testing::Dense;
using testing::norm;

struct Problem {
  Dense v, d;
  LeftBasis basis;
};

class ProjectionProperty : public ::testing::Test {
 protected:
  /// A matrix of any shape and rank, an update of the same shape, and the basis by any method that gives all vectors.
  Problem arbitrary() {
    const int64_t rows = *rc::gen::inRange<int64_t>(1, 90).as("rows");
    const int64_t cols = *rc::gen::inRange<int64_t>(1, 90).as("columns");
    const int64_t rank = *rc::gen::inRange<int64_t>(1, std::min(rows, cols) + 1).as("rank");
    const auto seed = *rc::gen::inRange<uint64_t>(0, 1U << 20U).as("seed");
    const auto method = *rc::gen::element(BasisMethod::automatic, BasisMethod::gram, BasisMethod::exact).as("method");
    Dense v = product(testing::gaussian(rows, rank, seed), testing::gaussian(rank, cols, seed + 1));
    BasisOptions options;
    options.method = method;
    LeftBasis basis = LeftBasis::compute(*stream_, testing::to_tensor(*stream_, v), "v", options);
    return {std::move(v), testing::gaussian(rows, cols, seed + 2), std::move(basis)};
  }

  Dense projected(const Problem& problem, const Dense& d, int64_t k) {
    const Dense u = testing::to_dense(problem.basis.vectors(*stream_, k));  // [k, rows]
    return product(transpose(u), product(u, d));
  }

  std::shared_ptr<Stream> stream_ = Stream::open({}, 1);
};

TEST_F(ProjectionProperty, AppliedTwiceItIsTheSameAndPythagorasHolds) {
  EXPECT_TRUE(rc::check([&] {
    const Problem problem = arbitrary();
    const int64_t k = *rc::gen::inRange<int64_t>(1, problem.basis.rank() + 1).as("k");
    const Dense p = projected(problem, problem.d, k);
    const double scale = norm(problem.d);
    RC_ASSERT(norm(difference(projected(problem, p, k), p)) < 1e-5 * scale);
    const double rest = norm(difference(problem.d, p));
    RC_ASSERT(std::abs(norm(p) * norm(p) + rest * rest - scale * scale) < 1e-5 * scale * scale);
  }));
}

TEST_F(ProjectionProperty, CoefficientsHoldTheEnergyOfEveryRank) {
  EXPECT_TRUE(rc::check([&] {
    const Problem problem = arbitrary();
    const Coefficients c = problem.basis.coefficients(*stream_, testing::to_tensor(*stream_, problem.d));
    const int64_t k = *rc::gen::inRange<int64_t>(1, problem.basis.rank() + 1).as("k");
    const double energy = std::accumulate(c.row_energy.begin(), c.row_energy.begin() + k, 0.0);
    const double whole = norm(problem.d) * norm(problem.d);
    const double parallel = norm(projected(problem, problem.d, k));
    RC_ASSERT(energy >= 0.0 && energy <= whole * (1 + 1e-5));
    RC_ASSERT(std::abs(energy - parallel * parallel) < 1e-5 * whole);
  }));
}

TEST_F(ProjectionProperty, AllVectorsHoldTheMatrixItself) {
  EXPECT_TRUE(rc::check([&] {
    const Problem problem = arbitrary();
    const Dense p = projected(problem, problem.v, problem.basis.rank());
    RC_ASSERT(norm(difference(p, problem.v)) < 1e-5 * norm(problem.v));
  }));
}

TEST_F(ProjectionProperty, SingularValuesAreThoseOfTheTransposedMatrix) {
  EXPECT_TRUE(rc::check([&] {
    const Problem problem = arbitrary();
    const LeftBasis right = problem.basis.transposed(*stream_, "v");
    RC_ASSERT(right.rank() == problem.basis.rank());
    const auto& sigma = problem.basis.singular_values();
    for (int64_t i = 0; i < right.rank(); ++i) {
      const auto at = static_cast<size_t>(i);
      RC_ASSERT(std::abs(right.singular_values()[at] - sigma[at]) < 1e-6 * sigma.front());
    }
  }));
}

}  // namespace
}  // namespace subspect::runtime::linalg
