// Percentile bootstrap: draws with replacement and the interval of their statistics (Efron and Tibshirani, "An
// Introduction to the Bootstrap", 1993, chapter 13).
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

namespace subspect::experiments::subspace {

struct Interval {
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
};

/// How often each of `count` items is drawn in `count` draws with replacement: one resample. `label` names an
/// independent sequence of the seed.
std::vector<int64_t> resample_counts(int64_t count, uint64_t seed, std::string_view label);

/// The 2.5th and 97.5th percentile of the finite values, linear between neighbours; NaN when there are none.
Interval percentile_interval(std::vector<double> values);

}  // namespace subspect::experiments::subspace
