// Means, quantiles, concordance, interpolation.
#include "experiments/statistics/summary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace subspect::experiments::statistics {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

TEST(Summary, ConcordanceCountsPairsThatDiffer) {
  EXPECT_EQ(concordance({{1, 1}, {2, 10}, {3, 100}, {4, nan}, {5, 1000}}, 0), 1.0);
  EXPECT_EQ(concordance({{1, 3}, {2, 2}, {3, 1}}, 0), 0.0);
  EXPECT_EQ(concordance({{1, 1}, {2, 3}, {3, 2}}, 0), 2.0 / 3);
  EXPECT_EQ(concordance({{1, 1}, {2, 3}, {3, 2}}, 1), 1.0);  // only 1 and 3 differ by more than the tolerance
  EXPECT_EQ(concordance({{1, 1}, {1, 3}, {2, 4}}, 0), 1.0);  // equal x say nothing
  EXPECT_TRUE(std::isnan(concordance({{1, 4}, {2, 4}, {3, 4}}, 0)));
}

TEST(Summary, MeanQuantileAndInterpolation) {
  EXPECT_EQ(mean({1, nan, 3}), 2);
  EXPECT_TRUE(std::isnan(mean({})));
  EXPECT_EQ(quantile({4, 1, 3, 2}, 0.5), 2.5);
  EXPECT_EQ(quantile({4, nan, 1}, 1), 4);
  EXPECT_EQ(interpolate({{0, 1}, {1, 3}}, 0.25), 1.5);
  EXPECT_EQ(interpolate({{0, 1}, {0, 3}, {1, 4}}, 0), 2);
  EXPECT_TRUE(std::isnan(interpolate({{0, 1}, {1, 3}}, 1.5)));
}

TEST(Summary, VarianceOfASample) {
  EXPECT_EQ(variance({1, 3, nan, 5}), 4);
  EXPECT_TRUE(std::isnan(variance({1})));
}

}  // namespace
}  // namespace subspect::experiments::statistics
