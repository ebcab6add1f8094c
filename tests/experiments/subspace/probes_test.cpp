// Probes on states whose separability is known.
#include "experiments/subspace/probes.h"

#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "runtime/io/files.h"
#include "tests/experiments/subspace/subspace_fixture.h"

namespace subspect::experiments::subspace {
namespace {

using testing::Dense;
namespace oracle = runtime::linalg::testing;

class Probes : public ::testing::Test {
 protected:
  std::vector<ProbeResult> probe(const Dense& useful, const Dense& harmful, int64_t folds = 5) const {
    return probe_states(*stream_, oracle::to_tensor(*stream_, useful), oracle::to_tensor(*stream_, harmful),
                        {.folds = folds, .seed = 5, .label = "states"});
  }

  std::shared_ptr<runtime::Stream> stream_ = runtime::Stream::open({}, 2);
};

/// Gaussian columns with `shift` added to coordinate 0.
Dense shifted(int64_t hidden, int64_t prompts, double shift, uint64_t seed) {
  Dense states = oracle::gaussian(hidden, prompts, seed);
  for (int64_t j = 0; j < prompts; ++j) states(0, j) += shift;
  return states;
}

TEST_F(Probes, SeparableSetsAreToldApart) {
  for (const int64_t prompts : {40, 400}) {  // more and fewer coordinates than training prompts: dual and primal
    for (const ProbeResult& result : probe(shifted(60, prompts, 0.0, 1), shifted(60, prompts + 2, 40.0, 2))) {
      EXPECT_EQ(result.accuracy, 1.0) << name(result.method);
      EXPECT_NEAR(result.accuracy_interval.low, 1.0 - 3.84 / (2.0 * static_cast<double>(prompts) + 5.84), 1e-4)
          << "Wilson's bound";
      EXPECT_EQ(result.accuracy_interval.high, 1.0);
      EXPECT_GT(result.separation, 8.0);
      EXPECT_EQ(result.n, 2 * prompts + 2);
    }
  }
}

TEST_F(Probes, OneDistributionIsChance) {
  for (const ProbeResult& result : probe(shifted(16, 2000, 0.0, 3), shifted(16, 2000, 0.0, 4))) {
    EXPECT_NEAR(result.accuracy, 0.5, 0.05) << name(result.method);
    EXPECT_LT(result.accuracy_interval.low, 0.5);
    EXPECT_GT(result.accuracy_interval.high, 0.5);
    EXPECT_NEAR(result.separation, 0.0, 0.2);
  }
}

TEST_F(Probes, AccuracyOfUnitGaussiansIsThatOfTheBayesRule) {
  // Two unit Gaussians 2 apart: accuracy Phi(1), d' = 2.
  const double bayes = 0.5 * std::erfc(-1.0 / std::sqrt(2.0));
  for (const ProbeResult& result : probe(shifted(8, 4000, 0.0, 3), shifted(8, 4000, 2.0, 4))) {
    EXPECT_NEAR(result.accuracy, bayes, 0.02) << name(result.method);
    EXPECT_LT(result.accuracy_interval.low, bayes);
    EXPECT_GT(result.accuracy_interval.high, bayes);
    const double width = result.accuracy_interval.high - result.accuracy_interval.low;
    EXPECT_NEAR(width, 2.0 * 1.96 * std::sqrt(bayes * (1.0 - bayes) / 8000.0), 0.003) << "the binomial interval";
    EXPECT_NEAR(result.separation, 2.0, 0.1);
  }
}

TEST_F(Probes, OnlyTheLinearProbeSeesPastAStrongCommonDirection) {
  // Coordinate 1 follows coordinate 0 closely at 30 times the spread; only their difference tells the sets apart.
  const auto states = [](double shift, uint64_t seed) {
    Dense matrix = oracle::gaussian(4, 2000, seed);
    for (int64_t j = 0; j < 2000; ++j) {
      const double common = 30.0 * matrix(0, j);
      matrix(0, j) = common + shift;
      matrix(1, j) = common + matrix(1, j);
    }
    return matrix;
  };
  const std::vector<ProbeResult> results = probe(states(0.0, 1), states(15.0, 2));
  EXPECT_LT(results[0].accuracy, 0.7);
  EXPECT_GT(results[1].accuracy, 0.95);
}

TEST_F(Probes, PrimalAndDualSystemsAgree) {
  // Zero coordinates change nothing but the choice of the system (and lambda, by the number of coordinates).
  const Dense useful = shifted(20, 20, 0.0, 1);
  const Dense harmful = shifted(20, 20, 1.0, 2);
  const auto padded = [](const Dense& states, int64_t hidden) {
    Dense more(hidden, states.cols);
    std::copy(states.values.begin(), states.values.end(), more.values.begin());
    return more;
  };
  const double primal = probe(useful, harmful)[1].separation;                        // 20 coordinates, 20 prompts
  const double dual = probe(padded(useful, 21), padded(harmful, 21))[1].separation;  // 21 coordinates
  EXPECT_NEAR(primal, dual, 0.02 * std::abs(primal));
}

TEST_F(Probes, CrossValidationAgreesWithScikitLearn) {
  const auto golden = nlohmann::json::parse(runtime::io::read_file(std::filesystem::path(SUBSPECT_SOURCE_DIR) /
                                                                   "tests/fixtures/statistics/golden.json"))["probe"];
  const auto states = [&](const char* set) {
    const auto rows = golden[set].get<std::vector<std::vector<double>>>();
    Dense matrix(static_cast<int64_t>(rows[0].size()), static_cast<int64_t>(rows.size()));
    for (size_t j = 0; j < rows.size(); ++j) {
      for (size_t d = 0; d < rows[j].size(); ++d) matrix(static_cast<int64_t>(d), static_cast<int64_t>(j)) = rows[j][d];
    }
    return matrix;
  };
  const ProbeResult linear = probe(states("useful"), states("harmful"), golden["folds"])[1];
  const auto expected = golden["right"].get<std::vector<int>>();
  ASSERT_EQ(linear.right.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(linear.right[i], expected[i] == 1) << "prompt " << i;
  EXPECT_GT(linear.accuracy, 0.6);
  EXPECT_LT(linear.accuracy, 1.0);
}

TEST_F(Probes, ManyCoordinatesAndFewPromptsDoNotLookSeparable) {
  // 200 coordinates separate any 40 training prompts; held-out prompts show that there is nothing.
  const ProbeResult linear = probe(shifted(200, 25, 0.0, 1), shifted(200, 25, 0.0, 2))[1];
  EXPECT_LT(linear.accuracy_interval.low, 0.5);
  EXPECT_GT(linear.accuracy_interval.high, 0.5);
}

TEST_F(Probes, ThreadsChangeNoBit) {
  const Dense useful = shifted(24, 150, 0.0, 1);
  const Dense harmful = shifted(24, 150, 0.8, 2);
  const std::vector<ProbeResult> two = probe(useful, harmful);
  stream_ = runtime::Stream::open({}, 1);
  const std::vector<ProbeResult> one = probe(useful, harmful);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(one[i].separation, two[i].separation);
    EXPECT_EQ(one[i].right, two[i].right);
    EXPECT_EQ(one[i].accuracy_interval.low, two[i].accuracy_interval.low);
  }
}

TEST_F(Probes, EdgesOfTheInput) {
  EXPECT_TRUE(probe(Dense(4, 1), Dense(4, 5)).empty());
  for (const ProbeResult& result : probe(Dense(4, 6), Dense(4, 6))) {
    EXPECT_EQ(result.accuracy, 0.5) << "equal scores are called useful";
    EXPECT_TRUE(std::isnan(result.separation));
  }
  Dense broken(4, 6);
  broken(2, 3) = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(probe(broken, Dense(4, 6)), runtime::Error);
}

}  // namespace
}  // namespace subspect::experiments::subspace
