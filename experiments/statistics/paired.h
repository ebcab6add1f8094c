// Two models on the same prompts: their difference, whether chance alone makes one as large, and what could have been
// seen.
#pragma once

#include <cstdint>
#include <vector>

#include "experiments/statistics/intervals.h"

namespace subspect::experiments::statistics {

/// Two-sided p-value of the sign-flip (paired permutation) test of sum(d) = 0: the share of all 2^n choices of signs
/// whose |sum| is at least the observed one. Exact, by convolution over the possible sums, which takes
/// n sum |d| steps. For d in {-1, 0, 1} this is McNemar's exact test. 1 where no d differs from 0.
double sign_flip_p(const std::vector<int64_t>& differences);

/// The same for differences that are no integers, from `flips` random choices of signs: (1 + hits) / (1 + flips).
double random_sign_flip_p(const std::vector<double>& differences, int64_t flips, uint64_t seed);

/// Holm's step-down adjustment (Scandinavian Journal of Statistics 6, 1979): reject where the adjusted p is at most
/// alpha, and the chance of any false rejection is at most alpha, however the tests depend on each other. NaN stays NaN
/// and does not count.
std::vector<double> holm(const std::vector<double>& p_values);

/// The smallest difference of means that a two-sided test of `n` paired differences with standard deviation `deviation`
/// finds with a chance of 80 % at level 5 %: (z_0.975 + z_0.8) deviation / sqrt(n). NaN for n < 2 and
/// where nothing differed: what the spread would be is then not known.
double detectable_difference(double deviation, int64_t n);

/// What two models' scores of the same prompts say about their difference.
struct PairedComparison {
  int64_t n = 0;  ///< prompts that have a value in both
  double mean_a = 0;
  double mean_b = 0;
  double difference = 0;  ///< mean of a - b
  Interval interval;      ///< BCa over prompts; where all differences are equal as `mean_interval` says
  double p = 1;           ///< sign-flip test
  double detectable = 0;  ///< by the observed spread of the differences
};

/// @param step all values are multiples of `step` (then the test is exact); 0: they need not be (then 9,999 random sign
/// flips). @param range largest possible difference of two values.
PairedComparison compare_paired(const Resamples& resamples, const std::vector<double>& a, const std::vector<double>& b,
                                double step, double range);

}  // namespace subspect::experiments::statistics
