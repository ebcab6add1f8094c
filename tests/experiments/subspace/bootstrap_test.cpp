// Resamples, percentiles, and intervals of the overlap of activations.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "experiments/subspace/activation_states.h"
#include "experiments/subspace/columns.h"
#include "tests/experiments/subspace/subspace_fixture.h"

namespace subspect::experiments::subspace {
namespace {

using testing::Dense;
namespace oracle = runtime::linalg::testing;
using statistics::Interval;
using statistics::percentile_interval;
using statistics::resample_counts;

TEST(Bootstrap, ResamplesHaveTheSizeOfTheSample) {
  const std::vector<int64_t> counts = resample_counts(1000, 1, "a");
  EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), int64_t{0}), 1000);
  EXPECT_NEAR(static_cast<double>(std::count(counts.begin(), counts.end(), 0)) / 1000.0, std::exp(-1.0), 0.05);
  EXPECT_EQ(resample_counts(1000, 1, "a"), counts);
  EXPECT_NE(resample_counts(1000, 1, "b"), counts);
  EXPECT_NE(resample_counts(1000, 2, "a"), counts);
}

TEST(Bootstrap, PercentilesInterpolateAndSkipTheUndefined) {
  std::vector<double> values(41);  // 0 to 40: the percentiles fall on 1 and 39
  std::iota(values.rbegin(), values.rend(), 0.0);
  values.push_back(std::numeric_limits<double>::quiet_NaN());
  EXPECT_DOUBLE_EQ(percentile_interval(values).low, 1.0);
  EXPECT_DOUBLE_EQ(percentile_interval(values).high, 39.0);
  EXPECT_DOUBLE_EQ(percentile_interval({0.0, 1.0}).low, 0.025);
  EXPECT_TRUE(std::isnan(percentile_interval({}).low));
}

TEST(Bootstrap, MergedColumnsHaveTheGramMatrixOfTheRepeatedOnes) {
  const auto stream = runtime::Stream::open({}, 1);
  const Dense states = oracle::gaussian(5, 4, 1);
  const std::vector<int64_t> counts = {0, 3, 1, 0};
  for (const bool center : {false, true}) {
    Dense repeated(5, 4);
    for (int64_t d = 0; d < 5; ++d) {
      const double mean = center ? (3.0 * states(d, 1) + states(d, 2)) / 4.0 : 0.0;
      for (int64_t j = 0; j < 4; ++j) repeated(d, j) = states(d, j < 3 ? 1 : 2) - mean;
    }
    const Dense merged = oracle::to_dense(resampled_columns(oracle::to_tensor(*stream, states), counts, center));
    EXPECT_EQ(merged.cols, 2);
    EXPECT_LT(oracle::largest_entry(oracle::difference(oracle::product(merged, oracle::transpose(merged)),
                                                       oracle::product(repeated, oracle::transpose(repeated)))),
              1e-5);
  }
}

class ResampledOverlaps : public testing::SubspaceTest {
 protected:
  std::vector<Interval> intervals(const Dense& a, const Dense& b, std::shared_ptr<runtime::Stream> stream = nullptr) {
    std::vector<Interval> result;
    const ResampleOptions options = {.resamples = 60, .seed = 3, .center = false, .basis = {}, .label = "x"};
    in_run(
        "run",
        [&](RunContext& context) {
          const runtime::Tensor useful = oracle::to_tensor(context.stream, a);
          const runtime::Tensor harmful = oracle::to_tensor(context.stream, b);
          overlaps_ = compare_activations(context.stream, useful, harmful, {0.4, 0.6}, false, {}, "x").pair;
          result = resampled_overlaps(context, useful, harmful, overlaps_, options);
        },
        std::move(stream));
    return result;
  }

  std::vector<EnergyOverlap> overlaps_;  // of the sample

  /// Columns in the span of the given coordinates, of equal spread.
  static Dense spanning(int64_t first, int64_t last, uint64_t seed) {
    Dense states = oracle::gaussian(16, 300, seed);
    for (int64_t d = 0; d < 16; ++d) {
      for (int64_t j = 0; j < 300; ++j) states(d, j) *= first <= d && d <= last ? 1.0 : 0.0;
    }
    return states;
  }
};

TEST_F(ResampledOverlaps, IdenticalLinesAndOrthogonalSpacesHaveNoSpread) {
  for (const Interval& same : intervals(spanning(0, 0, 1), spanning(0, 0, 2))) {
    EXPECT_NEAR(same.low, 1.0, 1e-6);
    EXPECT_NEAR(same.high, 1.0, 1e-6);
  }
  for (const Interval& apart : intervals(spanning(0, 4, 1), spanning(5, 9, 2))) {
    EXPECT_NEAR(apart.low, 0.0, 1e-6);
    EXPECT_NEAR(apart.high, 0.0, 1e-6);
  }
}

TEST_F(ResampledOverlaps, IntervalCoversTheTrueOverlap) {
  // Two dominant directions of equal spread at 45 degrees: MSO 1/2 at low energy.
  const auto along = [](double cosine, double sine, uint64_t seed) {
    Dense states = oracle::gaussian(16, 300, seed);
    for (int64_t j = 0; j < 300; ++j) {
      const double strength = 12.0 * states(15, j);
      states(0, j) += cosine * strength;
      states(1, j) += sine * strength;
    }
    return states;
  };
  const double half = std::sqrt(0.5);
  for (const Interval& interval : intervals(along(1.0, 0.0, 1), along(half, half, 2))) {
    EXPECT_LT(interval.low, 0.5);
    EXPECT_GT(interval.high, 0.5);
    EXPECT_LT(interval.high - interval.low, 0.1);
    EXPECT_GT(interval.high - interval.low, 1e-4);
  }
}

TEST_F(ResampledOverlaps, IntervalContainsTheOverlapOfTheSample) {
  // Noise alone: a resample has fewer distinct columns, and another overlap on average.
  const std::vector<Interval> noise = intervals(oracle::gaussian(16, 40, 1), oracle::gaussian(16, 40, 2));
  ASSERT_EQ(noise.size(), overlaps_.size());
  for (size_t i = 0; i < noise.size(); ++i) {
    EXPECT_LE(noise[i].low, overlaps_[i].mso);
    EXPECT_GE(noise[i].high, overlaps_[i].mso);
    EXPECT_LT(noise[i].low, noise[i].high);
  }
}

TEST_F(ResampledOverlaps, ThreadsChangeNoBit) {
  const Dense a = oracle::gaussian(16, 50, 1);
  const Dense b = oracle::gaussian(16, 40, 2);
  const std::vector<Interval> one = intervals(a, b, runtime::Stream::open({}, 1));
  const std::vector<Interval> three = intervals(a, b, runtime::Stream::open({}, 3));
  for (size_t i = 0; i < one.size(); ++i) {
    EXPECT_EQ(one[i].low, three[i].low);
    EXPECT_EQ(one[i].high, three[i].high);
  }
}

}  // namespace
}  // namespace subspect::experiments::subspace
