// Paired tests, their correction and their power.
#include "experiments/statistics/paired.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>

#include "experiments/statistics/distributions.h"
#include "experiments/statistics/summary.h"
#include "runtime/error.h"
#include "runtime/random.h"

namespace subspect::experiments::statistics {

double sign_flip_p(const std::vector<int64_t>& differences) {
  int64_t observed = 0;
  std::vector<int64_t> sizes;
  for (const int64_t d : differences) {
    observed += d;
    if (d != 0) sizes.push_back(std::abs(d));
  }
  if (sizes.empty()) return 1;
  // chance[i] = P(the sum over the positive ones is i): the sum of all is 2 i - total.
  const int64_t total = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  std::vector<double> chance(static_cast<size_t>(total) + 1, 0.0);
  chance[0] = 1;
  int64_t reached = 0;
  for (const int64_t size : sizes) {
    reached += size;
    for (int64_t i = reached; i >= 0; --i) {
      const double with = i >= size ? chance[static_cast<size_t>(i - size)] : 0.0;
      chance[static_cast<size_t>(i)] = 0.5 * (chance[static_cast<size_t>(i)] + with);
    }
  }
  double p = 0;
  for (int64_t i = 0; i <= total; ++i) {
    if (std::abs(2 * i - total) >= std::abs(observed)) p += chance[static_cast<size_t>(i)];
  }
  return std::min(1.0, p);
}

double random_sign_flip_p(const std::vector<double>& differences, int64_t flips, uint64_t seed) {
  const double observed = std::abs(std::accumulate(differences.begin(), differences.end(), 0.0));
  double scale = 0;
  for (const double d : differences) scale += std::abs(d);
  const double equal = 1e-12 * scale;  // sums that differ by rounding alone are equal
  runtime::Random random(seed, runtime::stream_of("sign flips"));
  int64_t hits = 0;
  for (int64_t flip = 0; flip < flips; ++flip) {
    double sum = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < differences.size(); ++i) {
      if (i % 32 == 0) bits = random.next_u32();
      sum += (bits >> (i % 32) & 1U) != 0 ? differences[i] : -differences[i];
    }
    hits += std::abs(sum) >= observed - equal ? 1 : 0;
  }
  return static_cast<double>(1 + hits) / static_cast<double>(1 + flips);
}

std::vector<double> holm(const std::vector<double>& p_values) {
  std::vector<size_t> order;
  for (size_t i = 0; i < p_values.size(); ++i) {
    if (!std::isnan(p_values[i])) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p_values[a] < p_values[b]; });
  std::vector<double> adjusted(p_values.size(), std::numeric_limits<double>::quiet_NaN());
  double largest = 0;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    largest = std::max(largest, static_cast<double>(order.size() - rank) * p_values[order[rank]]);
    adjusted[order[rank]] = std::min(1.0, largest);
  }
  return adjusted;
}

double detectable_difference(double deviation, int64_t n) {
  if (n < 2 || !(deviation > 0)) return std::numeric_limits<double>::quiet_NaN();
  constexpr double power = 0.8;
  return (normal_quantile(1 - tail) + normal_quantile(power)) * deviation / std::sqrt(static_cast<double>(n));
}

PairedComparison compare_paired(const Resamples& resamples, const std::vector<double>& a, const std::vector<double>& b,
                                double step, double range) {
  runtime::require(a.size() == b.size(), "compare_paired", "scores of the same prompts are required, not {} and {}",
                   a.size(), b.size());
  std::vector<double> differences, kept, of_a, of_b;
  for (size_t i = 0; i < a.size(); ++i) {
    differences.push_back(a[i] - b[i]);
    if (!std::isfinite(differences[i])) continue;
    kept.push_back(differences[i]);
    of_a.push_back(a[i]);
    of_b.push_back(b[i]);
  }
  const MeanInterval difference = mean_interval(resamples, differences, -range, range);
  PairedComparison result{.n = difference.n,
                          .mean_a = mean(of_a),
                          .mean_b = mean(of_b),
                          .difference = difference.mean,
                          .interval = difference.interval,
                          .p = std::numeric_limits<double>::quiet_NaN(),
                          .detectable = detectable_difference(std::sqrt(variance(kept)), difference.n)};
  if (kept.empty()) return result;
  if (step > 0) {
    std::vector<int64_t> steps;
    for (const double d : kept) steps.push_back(std::llround(d / step));
    result.p = sign_flip_p(steps);
  } else {
    constexpr int64_t flips = 9999;
    result.p = random_sign_flip_p(kept, flips, static_cast<uint64_t>(kept.size()));
  }
  return result;
}

}  // namespace subspect::experiments::statistics
