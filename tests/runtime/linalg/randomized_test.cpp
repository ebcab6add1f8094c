// The randomized method against dgesdd in double precision at the thresholds of the design, and what it does where it
// cannot meet its tolerance.
#include "runtime/linalg/randomized.h"

#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "runtime/error.h"
#include "runtime/linalg/left_basis.h"
#include "tests/runtime/linalg/oracle.h"

namespace subspect::runtime::linalg {
namespace {

using testing::Dense;

struct Case {
  std::string label;
  int64_t rows;
  int64_t cols;
  std::vector<double> sigma;
  int64_t rank;
};

std::vector<double> geometric(int64_t count, double ratio) {
  std::vector<double> sigma(static_cast<size_t>(count));
  for (size_t i = 0; i < sigma.size(); ++i) sigma[i] = std::pow(ratio, static_cast<double>(i));
  return sigma;
}

/// Equal values above a gap and below it.
std::vector<double> plateau(int64_t count, int64_t above) {
  std::vector<double> sigma(static_cast<size_t>(count), 0.1);
  std::fill_n(sigma.begin(), above, 1.0);
  return sigma;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto& [shape, rows, cols] : std::vector<std::tuple<std::string, int64_t, int64_t>>{
           {"square", 150, 150}, {"wide", 120, 400}, {"tall", 400, 120}, {"very_tall", 2100, 80}}) {
    const int64_t side = std::min(rows, cols);
    all.push_back({shape + "_power", rows, cols, testing::power_law(side, 0.5), 6});
    all.push_back({shape + "_steep", rows, cols, geometric(side, 0.8), 12});
    all.push_back({shape + "_plateau", rows, cols, plateau(side, 9), 9});
  }
  return all;
}

class RandomizedBasis : public ::testing::TestWithParam<Case> {
 protected:
  std::shared_ptr<Stream> stream_ = Stream::open({}, 2);
};

INSTANTIATE_TEST_SUITE_P(Matrices, RandomizedBasis, ::testing::ValuesIn(cases()),
                         [](const auto& test_info) { return test_info.param.label; });

TEST_P(RandomizedBasis, LeadingVectorsMatchTheExactOnes) {
  const Case& c = GetParam();
  const Dense v = testing::with_spectrum(c.rows, c.cols, c.sigma, 11);
  const Dense d = testing::gaussian(c.rows, c.cols, 12);
  const testing::Decomposition truth = testing::decompose(v);
  const LeftBasis basis =
      LeftBasis::compute(*stream_, testing::to_tensor(*stream_, v), c.label,
                         {.method = BasisMethod::randomized, .rank = c.rank, .tolerance = 2e-6, .max_iterations = 200});
  ASSERT_EQ(basis.method(), BasisMethod::randomized);
  ASSERT_EQ(basis.rank(), c.rank);
  EXPECT_TRUE(basis.truncated());
  EXPECT_LT(basis.residual(), 2e-6);
  EXPECT_LT(basis.orthogonality(), 1e-6);
  ASSERT_EQ(basis.singular_values().size(), static_cast<size_t>(c.rank));
  for (size_t i = 0; i < static_cast<size_t>(c.rank); ++i) {
    EXPECT_NEAR(basis.singular_values()[i], truth.sigma[i], 1e-9 * truth.sigma[0]);
  }
  EXPECT_LE(basis.next_singular_value(), truth.sigma[static_cast<size_t>(c.rank)] * (1.0 + 1e-9));
  EXPECT_GE(basis.next_singular_value(), 0.9 * truth.sigma[static_cast<size_t>(c.rank)]);
  EXPECT_NEAR(basis.squared_norm(), testing::norm(v) * testing::norm(v), 1e-12 * basis.squared_norm());

  const Dense ut = testing::to_dense(basis.vectors(*stream_, c.rank));
  EXPECT_LT(testing::largest_entry(
                testing::difference(testing::product(ut, testing::transpose(ut)), testing::identity(c.rank))),
            1e-6);
  const Coefficients coefficients = basis.coefficients(*stream_, testing::to_tensor(*stream_, d));
  const Dense left = testing::leading(truth.u, c.rank);
  const Dense projected = testing::product(left, testing::product(testing::transpose(left), d));
  Tensor p = Tensor::zeros(*stream_, {c.rows, c.cols}, DType::float32);
  add_projection(*stream_, basis.vectors(*stream_, c.rank), coefficients.values, 1.0, p);
  const Dense ours = testing::to_dense(p);
  EXPECT_LT(testing::norm(testing::difference(ours, projected)) / testing::norm(d), 1e-5);
  double kept = 0.0;
  for (const double x : coefficients.row_energy) kept += x;
  EXPECT_NEAR(kept / std::pow(testing::norm(projected), 2), 1.0, 1e-6);
  const double parts = std::pow(testing::norm(ours), 2) + std::pow(testing::norm(testing::difference(d, ours)), 2);
  EXPECT_NEAR(parts / std::pow(testing::norm(d), 2), 1.0, 1e-7);
}

LeftBasis leading(Stream& stream, const Dense& v, const BasisOptions& options) {
  return LeftBasis::compute(stream, testing::to_tensor(stream, v), "w", options);
}

BasisOptions randomized(int64_t rank) {
  return {.method = BasisMethod::randomized, .rank = rank};
}

TEST(Randomized, AskingBeyondTheLeadingVectorsIsAnError) {
  const auto stream = Stream::open({}, 1);
  const LeftBasis basis =
      leading(*stream, testing::with_spectrum(200, 90, testing::power_law(90, 1.0), 3), randomized(5));
  EXPECT_EQ(basis.vectors(*stream, 5).size(0), 5);
  EXPECT_THROW(basis.vectors(*stream, 6), Error);
  EXPECT_EQ(basis.rank_at_energy(0.3), 1);
  EXPECT_THROW(basis.rank_at_energy(0.999), Error);
  EXPECT_TRUE(basis.unique_at(5));
}

TEST(Randomized, UniquenessAtTheLastVectorRegardsTheNextOne) {
  const auto stream = Stream::open({}, 1);
  const Dense v = testing::identity(120);
  const LeftBasis basis = leading(*stream, v, randomized(4));
  EXPECT_TRUE(basis.truncated());
  EXPECT_FALSE(basis.unique_at(4));
  EXPECT_NEAR(basis.next_singular_value(), 1.0, 1e-6);
}

TEST(Randomized, EnergyDecidesTheRank) {
  const auto stream = Stream::open({}, 2);
  const Dense v = testing::with_spectrum(300, 260, testing::power_law(260, 0.7), 5);
  const std::vector<double> sigma = testing::decompose(v).sigma;
  BasisOptions options = randomized(0);
  for (const double energy : {0.1, 0.5, 0.7}) {
    options.energy = energy;
    const LeftBasis basis = leading(*stream, v, options);
    EXPECT_EQ(basis.rank_at_energy(energy), rank_at_energy(sigma, energy)) << energy;
  }
  options.energy = 1.0;
  const LeftBasis whole = leading(*stream, v, options);
  EXPECT_FALSE(whole.truncated());
  EXPECT_EQ(whole.rank(), 260);
}

TEST(Randomized, LowRankIsComplete) {
  const auto stream = Stream::open({}, 2);
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{150, 180}, {180, 150}}) {
    // Rank 25 with a block of 18: the space cannot grow beyond the rank.
    const LeftBasis basis =
        leading(*stream, testing::with_spectrum(rows, cols, testing::power_law(25, 0.3), 9), randomized(40));
    EXPECT_EQ(basis.rank(), 25);
    EXPECT_FALSE(basis.truncated());
    EXPECT_EQ(basis.singular_values().size(), 150U);
    EXPECT_LT(basis.residual(), default_tolerance);
    const LeftBasis few =
        leading(*stream, testing::with_spectrum(rows, cols, testing::power_law(25, 0.3), 9), randomized(10));
    EXPECT_EQ(few.rank(), 10);
    EXPECT_TRUE(few.truncated());
  }
}

TEST(Randomized, RankOfTheWholeMatrixAndBeyond) {
  const auto stream = Stream::open({}, 1);
  for (const int64_t rank : {8, 11, 12, 50}) {
    Dense v = testing::gaussian(12, 40, 4);
    for (int64_t j = 0; j < 40; ++j) v(7, j) = 0.0;
    const LeftBasis basis = leading(*stream, v, randomized(rank));
    EXPECT_EQ(basis.rank(), std::min<int64_t>(rank, 11));
    // With exactly as many vectors as the rank the iteration ends before it looks for more.
    EXPECT_TRUE(rank == 11 || basis.truncated() == (rank < 11)) << rank;
  }
}

TEST(Randomized, ThreadsChangeNoBit) {
  const auto one = Stream::open({}, 1);
  const auto three = Stream::open({}, 3);
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{300, 1100}, {1100, 300}}) {
    const Dense v = testing::with_spectrum(rows, cols, testing::power_law(300, 0.6), 6);
    const auto run = [&](Stream& stream) {
      const LeftBasis basis = leading(stream, v, randomized(12));
      std::vector<double> all = testing::to_dense(basis.vectors(stream, 12)).values;
      all.insert(all.end(), basis.singular_values().begin(), basis.singular_values().end());
      all.push_back(basis.residual());
      return all;
    };
    EXPECT_EQ(run(*one), run(*three));
  }
}

TEST(Randomized, MissedToleranceIsAnErrorOrAnotherMethod) {
  const auto stream = Stream::open({}, 1);
  const Dense v = testing::gaussian(600, 600, 8);
  BasisOptions options = randomized(20);
  options.max_iterations = 1;
  try {
    leading(*stream, v, options);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("tolerance of 0.001"), std::string::npos) << error.what();
  }
  options.method = BasisMethod::automatic;
  EXPECT_EQ(choose_method(600, 600, options), BasisMethod::randomized);
  EXPECT_EQ(leading(*stream, v, options).method(), BasisMethod::gram);
  options.tolerance = 1e-12;  // float32 never gets there
  options.max_iterations = 1000;
  EXPECT_EQ(leading(*stream, testing::with_spectrum(600, 600, testing::power_law(600, 1.0), 2), options).method(),
            BasisMethod::gram);
}

TEST(Randomized, AutomaticRegardsRankAndMemory) {
  const auto choice = [](int64_t rows, int64_t cols, const BasisOptions& options) {
    return choose_method(rows, cols, options);
  };
  EXPECT_EQ(choice(4096, 2048, {.rank = 20}), BasisMethod::randomized);
  EXPECT_EQ(choice(4096, 2048, {.rank = 2000}), BasisMethod::gram);
  EXPECT_EQ(choice(4096, 2048, {}), BasisMethod::gram);
  EXPECT_EQ(choice(4096, 2048, {.energy = 0.01}), BasisMethod::gram);
  EXPECT_EQ(choice(400, 400, {.rank = 2}), BasisMethod::gram);
  EXPECT_EQ(choice(64, 4000, {.rank = 2}), BasisMethod::exact);
  EXPECT_EQ(choice(4096, 2048, {.rank = 400, .memory_bytes = 1 << 20}), BasisMethod::randomized);
  EXPECT_EQ(choice(4096, 2048, {.memory_bytes = 1 << 20}), BasisMethod::gram) << "never for a whole spectrum";
  EXPECT_EQ(choice(4096, 2048, {.rank = 1500, .memory_bytes = 1 << 20}), BasisMethod::gram);
  EXPECT_EQ(choice(4096, 2048, {.rank = 400}), BasisMethod::gram);
}

TEST(Randomized, TransposedHoldsTheLeadingRightVectors) {
  const auto stream = Stream::open({}, 2);
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{200, 90}, {90, 200}}) {
    const Dense v = testing::with_spectrum(rows, cols, testing::power_law(90, 1.0), 4);
    const LeftBasis right = leading(*stream, v, randomized(7)).transposed(*stream, "w", randomized(7));
    EXPECT_EQ(right.rows(), cols);
    EXPECT_EQ(right.rank(), 7);
    EXPECT_TRUE(right.truncated());
    EXPECT_LT(right.residual(), default_tolerance);
    EXPECT_LT(right.orthogonality(), 1e-6);
  }
}

}  // namespace
}  // namespace subspect::runtime::linalg
