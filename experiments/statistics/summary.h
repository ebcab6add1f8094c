// Means, quantiles, concordance and interpolation. NaN values are left out everywhere but in `interpolate`.
#pragma once

#include <utility>
#include <vector>

namespace subspect::experiments::statistics {

/// Mean of the finite values; NaN if there are none.
double mean(const std::vector<double>& values);

/// Variance with n - 1 in the denominator of the finite values; NaN for fewer than two.
double variance(const std::vector<double>& values);

/// The `q`-quantile (0..1) of the finite values, linear between order statistics; NaN if there are none.
double quantile(std::vector<double> values, double q);

/// Of all two points whose y differ by more than `tolerance` (and whose x differ): the share in which the greater x has
/// the greater y. 1 = always, 0.5 = as often as not; (Goodman and Kruskal's gamma + 1) / 2. Points that are not finite
/// do not count; NaN where no two points differ.
double concordance(const std::vector<std::pair<double, double>>& points, double tolerance);

/// The value at `x` on the line through `points`, which are sorted by x; points of equal x count with their mean. NaN
/// outside their range.
double interpolate(const std::vector<std::pair<double, double>>& points, double x);

}  // namespace subspect::experiments::statistics
