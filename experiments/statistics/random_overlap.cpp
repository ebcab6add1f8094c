// Moments and quantiles of the overlap of random subspaces.
#include "experiments/statistics/random_overlap.h"

#include <algorithm>

#include "experiments/statistics/distributions.h"
#include "runtime/linalg/overlap.h"

namespace subspect::experiments::statistics {

double random_mso_variance(int64_t k_a, int64_t k_b, int64_t d) {
  if (k_a >= d || k_b >= d) return 0;
  const auto p = static_cast<double>(k_a), q = static_cast<double>(k_b), n = static_cast<double>(d);
  const double trace = 2 * p * q * (n - p) * (n - q) / (n * n * (n - 1) * (n + 2));
  return trace / (std::min(p, q) * std::min(p, q));
}

Interval random_mso_interval(int64_t k_a, int64_t k_b, int64_t d) {
  if (k_a < 1 || k_b < 1 || k_a > d || k_b > d) return {};
  const double mean = runtime::linalg::expected_random_mso(k_a, k_b, d);
  const double variance = random_mso_variance(k_a, k_b, d);
  const double lowest =
      static_cast<double>(std::max<int64_t>(0, k_a + k_b - d)) / static_cast<double>(std::min(k_a, k_b));
  if (variance == 0) return {mean, mean};
  const double width = 1 - lowest, m = (mean - lowest) / width, v = variance / (width * width);
  const double size = m * (1 - m) / v - 1;
  const auto at = [&](double p) { return lowest + width * beta_quantile(p, m * size, (1 - m) * size); };
  return {at(tail), at(1 - tail)};
}

}  // namespace subspect::experiments::statistics
