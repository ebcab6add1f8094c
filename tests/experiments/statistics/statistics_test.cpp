// The statistics against SciPy, statsmodels and scikit-learn (tools/fixtures/statistics_goldens.py), and their edges.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "experiments/statistics/distributions.h"
#include "experiments/statistics/intervals.h"
#include "experiments/statistics/paired.h"
#include "experiments/statistics/random_overlap.h"
#include "experiments/statistics/summary.h"
#include "runtime/io/files.h"
#include "runtime/linalg/overlap.h"
#include "runtime/random.h"

namespace subspect::experiments::statistics {
namespace {

using nlohmann::json;
using Values = std::vector<double>;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

const json& golden() {
  static const json read = json::parse(
      runtime::io::read_file(std::filesystem::path(SUBSPECT_SOURCE_DIR) / "tests/fixtures/statistics/golden.json"));
  return read;
}

void expect_close(double value, double expected, double tolerance, const json& where) {
  EXPECT_NEAR(value, expected, tolerance * std::max(1e-30, std::abs(expected))) << where;
}

TEST(Distributions, AgreeWithScipy) {
  const json& all = golden()["distributions"];
  for (const json& c : all["normal_quantile"])
    expect_close(normal_quantile(c[0]) + 1, c[1].get<double>() + 1, 1e-12, c);
  for (const json& c : all["normal_cdf"]) expect_close(normal_cdf(c[0]), c[1], 1e-12, c);
  for (const json& c : all["beta_cdf"]) expect_close(beta_cdf(c[0], c[1], c[2]), c[3], 1e-10, c);
  for (const json& c : all["beta_quantile"]) expect_close(beta_quantile(c[0], c[1], c[2]), c[3], 1e-10, c);
  for (const json& c : all["student_quantile"]) EXPECT_NEAR(student_quantile(c[0], c[1]), c[2], 1e-8) << c;
}

TEST(Distributions, EdgesAndNonsense) {
  EXPECT_EQ(normal_quantile(0), -std::numeric_limits<double>::infinity());
  EXPECT_EQ(normal_quantile(1), std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(normal_quantile(1.5)));
  EXPECT_TRUE(std::isnan(normal_quantile(nan)));
  EXPECT_EQ(beta_cdf(-1, 2, 2), 0);
  EXPECT_EQ(beta_cdf(2, 2, 2), 1);
  EXPECT_TRUE(std::isnan(beta_cdf(0.5, 0, 1)));
  EXPECT_TRUE(std::isnan(student_quantile(0.5, 0)));
}

TEST(Intervals, WilsonAgreesWithStatsmodels) {
  for (const json& c : golden()["wilson"]) {
    const Interval interval = wilson_interval(c[0], c[1]);
    EXPECT_NEAR(interval.low, c[2].get<double>(), 1e-12) << c;
    EXPECT_NEAR(interval.high, c[3].get<double>(), 1e-12) << c;
  }
  EXPECT_TRUE(std::isnan(wilson_interval(0, 0).low));
}

TEST(Intervals, BcaAgreesWithScipyOnItsResamples) {
  for (const json& c : golden()["bca"]) {
    const auto values = c["values"].get<Values>();
    const Interval interval = bca_interval(c["resamples"].get<Values>(), mean(values), acceleration_of_mean(values));
    EXPECT_NEAR(interval.low, c["low"].get<double>(), 1e-9);
    EXPECT_NEAR(interval.high, c["high"].get<double>(), 1e-9);
  }
}

TEST(Intervals, StudentOfFewDraws) {
  const Interval interval = student_interval({1, 2, 3, nan});
  EXPECT_NEAR(interval.low, 2 - 4.302652729911275 / std::sqrt(3.0), 1e-8);  // t_0.975 of 2 degrees of freedom
  EXPECT_NEAR(interval.high, 2 + 4.302652729911275 / std::sqrt(3.0), 1e-8);
  EXPECT_TRUE(std::isnan(student_interval({1}).low));
}

TEST(Intervals, RecentredOnesHaveTheSpreadOfTheResamplesAroundTheEstimate) {
  Values values(41);
  std::iota(values.begin(), values.end(), 0.0);  // mean 20, percentiles 1 and 39
  EXPECT_DOUBLE_EQ(recentred_interval(values, 30, 0, 100).low, 11);
  EXPECT_DOUBLE_EQ(recentred_interval(values, 30, 0, 100).high, 49);
  EXPECT_DOUBLE_EQ(recentred_interval(values, 30, 0, 40).high, 40);
  EXPECT_TRUE(std::isnan(recentred_interval({}, 1, 0, 1).low));
}

/// `ones` of `count` values are 1, the others 0.
Values hits(int64_t ones, int64_t count) {
  Values values(static_cast<size_t>(count), 0.0);
  std::fill_n(values.begin(), ones, 1.0);
  return values;
}

TEST(Intervals, BootstrapOfASharesIsNearWilson) {
  const Resamples resamples(400, 4000, 1);
  for (const int64_t ones : {20, 100, 200, 360}) {
    const MeanInterval boot = mean_interval(resamples, hits(ones, 400), 0, 1);
    const Interval wilson = wilson_interval(static_cast<double>(ones), 400);
    EXPECT_EQ(boot.method, "bca");
    EXPECT_EQ(boot.n, 400);
    EXPECT_NEAR(boot.interval.low, wilson.low, 0.006) << ones;
    EXPECT_NEAR(boot.interval.high, wilson.high, 0.006) << ones;
  }
}

TEST(Intervals, EqualValuesGetWilsonsBound) {
  const Resamples resamples(60, 200, 1);
  const MeanInterval none = mean_interval(resamples, hits(0, 60), 0, 1);
  EXPECT_EQ(none.method, "wilson");
  EXPECT_EQ(none.interval.low, 0);
  EXPECT_DOUBLE_EQ(none.interval.high, wilson_interval(0, 60).high);
  const MeanInterval all = mean_interval(resamples, hits(60, 60), 0, 1);
  EXPECT_DOUBLE_EQ(all.interval.low, wilson_interval(60, 60).low);
  const MeanInterval refused = mean_interval(resamples, Values(60, 1.0), 1, 5);
  EXPECT_EQ(refused.interval.low, 1);
  EXPECT_DOUBLE_EQ(refused.interval.high, 1 + 4 * wilson_interval(0, 60).high);
}

TEST(Intervals, CoverTheTruthAsOftenAsTheySay) {
  // 300 samples of 80 judgements with known mean: 95 % of the intervals contain it, within 3 standard errors.
  runtime::Random random(5);
  const Resamples resamples(80, 400, 9);
  int covered = 0;
  for (int trial = 0; trial < 300; ++trial) {
    Values sample;
    for (int i = 0; i < 80; ++i)
      sample.push_back(random.chance(0.7) ? 1.0 : 1.0 + static_cast<double>(random.below(5)));
    const Interval interval = mean_interval(resamples, sample, 1, 5).interval;
    covered += interval.low <= 1.6 && 1.6 <= interval.high ? 1 : 0;
  }
  EXPECT_NEAR(covered / 300.0, 0.95, 3 * std::sqrt(0.95 * 0.05 / 300));
}

TEST(Intervals, AreTheSameEveryTimeAndLeaveOutTheUndefined) {
  Values values = hits(30, 90);
  const Interval once = mean_interval(Resamples(90, 500, 4), values, 0, 1).interval;
  const Interval again = mean_interval(Resamples(90, 500, 4), values, 0, 1).interval;
  EXPECT_EQ(once.low, again.low);
  EXPECT_EQ(once.high, again.high);
  std::fill_n(values.rbegin(), 30, nan);
  const MeanInterval valid = mean_interval(Resamples(90, 500, 4), values, 0, 1);
  EXPECT_EQ(valid.n, 60);
  EXPECT_EQ(valid.mean, 0.5);
  EXPECT_NEAR(valid.interval.high - valid.interval.low, 4 * std::sqrt(0.25 / 60), 0.03);
  EXPECT_TRUE(std::isnan(mean_interval(Resamples(90, 0, 4), values, 0, 1).interval.low));
  EXPECT_TRUE(std::isnan(mean_interval(Resamples(2, 10, 4), {nan, nan}, 0, 1).mean));
}

TEST(Intervals, PerplexityIsARatio) {
  const Resamples resamples(50, 1000, 2);
  Values losses, tokens;
  for (int i = 0; i < 50; ++i) {
    tokens.push_back(10 + i % 7);
    losses.push_back(tokens.back() * (2.0 + 0.1 * (i % 5)));
  }
  const MeanInterval perplexity = exponential_interval(resamples, losses, tokens);
  EXPECT_DOUBLE_EQ(perplexity.mean, std::exp(std::accumulate(losses.begin(), losses.end(), 0.0) /
                                             std::accumulate(tokens.begin(), tokens.end(), 0.0)));
  EXPECT_LT(perplexity.interval.low, perplexity.mean);
  EXPECT_GT(perplexity.interval.high, perplexity.mean);
  EXPECT_LT(perplexity.interval.high - perplexity.interval.low, 1.0);
}

TEST(Paired, SignFlipsAgreeWithScipyAndMcNemarWithStatsmodels) {
  for (const json& c : golden()["paired"]["sign_flip"]) {
    expect_close(sign_flip_p(c["differences"].get<std::vector<int64_t>>()), c["p"], 1e-12, c);
  }
  for (const json& c : golden()["paired"]["mcnemar"]) {
    std::vector<int64_t> differences(c["same"].get<size_t>(), 0);
    differences.insert(differences.end(), c["gained"].get<size_t>(), 1);
    differences.insert(differences.end(), c["lost"].get<size_t>(), -1);
    expect_close(sign_flip_p(differences), c["p"], 1e-10, c);
  }
  EXPECT_EQ(sign_flip_p({}), 1);
  EXPECT_EQ(sign_flip_p({0, 0}), 1);
}

TEST(Paired, RandomSignFlipsApproachTheExactTest) {
  const std::vector<int64_t> steps = {3, -1, 2, 2, 0, 4, -2, 1, 3, 2, -1, 1};
  Values halves;
  for (const int64_t step : steps) halves.push_back(0.5 * static_cast<double>(step));
  const double exact = sign_flip_p(steps);
  EXPECT_NEAR(random_sign_flip_p(halves, 20000, 1), exact, 4 * std::sqrt(exact * (1 - exact) / 20000));
  EXPECT_EQ(random_sign_flip_p(halves, 500, 1), random_sign_flip_p(halves, 500, 1));
}

TEST(Paired, HolmAgreesWithStatsmodels) {
  for (const json& c : golden()["holm"]) {
    const Values adjusted = holm(c["p"].get<Values>());
    for (size_t i = 0; i < adjusted.size(); ++i) expect_close(adjusted[i], c["adjusted"][i], 1e-12, c);
  }
  const Values with_gap = holm({0.01, nan, 0.04});
  EXPECT_DOUBLE_EQ(with_gap[0], 0.02);
  EXPECT_TRUE(std::isnan(with_gap[1]));
  EXPECT_DOUBLE_EQ(with_gap[2], 0.04);
}

TEST(Paired, DetectableDifferenceAgreesWithStatsmodels) {
  // statsmodels also counts rejections on the wrong side, whose chance is a millionth.
  for (const json& c : golden()["power"]) expect_close(detectable_difference(1.0, c[0]), c[1], 1e-5, c);
  EXPECT_TRUE(std::isnan(detectable_difference(1.0, 1)));
}

TEST(Paired, PowerIsThatOfTheTest) {
  // A true difference of the detectable size is found in about 80 % of samples.
  runtime::Random random(3);
  constexpr int64_t n = 120;
  const double shift = detectable_difference(1.0, n);
  int found = 0;
  for (int trial = 0; trial < 200; ++trial) {
    Values differences;
    for (int64_t i = 0; i < n; ++i) differences.push_back(shift + random.normal());
    found += random_sign_flip_p(differences, 399, static_cast<uint64_t>(trial)) <= 0.05 ? 1 : 0;
  }
  EXPECT_NEAR(found / 200.0, 0.8, 3 * std::sqrt(0.8 * 0.2 / 200));
}

TEST(Paired, ComparisonTakesThePromptsThatBothHave) {
  const Resamples resamples(6, 500, 1);
  const PairedComparison result = compare_paired(resamples, {5, 4, 5, nan, 3, 5}, {1, 1, 2, 1, nan, 1}, 1, 4);
  EXPECT_EQ(result.n, 4);
  EXPECT_DOUBLE_EQ(result.mean_a, 4.75);
  EXPECT_DOUBLE_EQ(result.mean_b, 1.25);
  EXPECT_DOUBLE_EQ(result.difference, 3.5);
  EXPECT_DOUBLE_EQ(result.p, 2.0 / 16);
  EXPECT_GT(result.interval.low, 2.5);
  EXPECT_NEAR(result.detectable, 2.8015851 * std::sqrt(1.0 / 3) / 2, 1e-6);
  const PairedComparison same = compare_paired(resamples, Values(6, 1.0), Values(6, 1.0), 1, 4);
  EXPECT_EQ(same.p, 1);
  EXPECT_LT(same.interval.low, 0);
  EXPECT_GT(same.interval.high, 0);
  EXPECT_TRUE(std::isnan(same.detectable)) << "nothing differed: the spread is not known";
}

TEST(RandomOverlap, ClosedFormsAgreeWithDrawnSubspaces) {
  for (const json& c : golden()["random_overlap"]) {
    const int64_t k_a = c["k_a"], k_b = c["k_b"], d = c["d"];
    const double variance = random_mso_variance(k_a, k_b, d), draws = c["draws"];
    EXPECT_NEAR(runtime::linalg::expected_random_mso(k_a, k_b, d), c["mean"].get<double>(),
                4 * std::sqrt(variance / draws))
        << c;
    expect_close(variance, c["variance"], 0.05, c);
    const Interval interval = random_mso_interval(k_a, k_b, d);
    const double close = 0.1 * std::sqrt(variance);  // the beta distribution is exact only where one k is 1
    EXPECT_NEAR(interval.low, c["low"].get<double>(), close) << c;
    EXPECT_NEAR(interval.high, c["high"].get<double>(), close) << c;
  }
}

TEST(RandomOverlap, WholeSpacesLeaveNothingToChance) {
  EXPECT_EQ(random_mso_variance(8, 3, 8), 0);
  EXPECT_EQ(random_mso_interval(8, 3, 8).low, 1);
  EXPECT_EQ(random_mso_interval(8, 3, 8).high, 1);
  EXPECT_TRUE(std::isnan(random_mso_interval(0, 3, 8).low));
}

}  // namespace
}  // namespace subspect::experiments::statistics
