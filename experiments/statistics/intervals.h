// Intervals of 95 %: bootstrap over prompts, Wilson's for shares, Student's for a few draws or seeds.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

namespace subspect::experiments::statistics {

struct Interval {
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
};

/// The two tails that an interval leaves out: 2.5 % each.
constexpr double tail = 0.025;

/// How often each of `count` items is drawn in `count` draws with replacement: one resample. `label` names an
/// independent sequence of the seed.
std::vector<int64_t> resample_counts(int64_t count, uint64_t seed, std::string_view label);

/// The 2.5th and 97.5th percentile of the finite values, linear between neighbours; NaN when there are none.
Interval percentile_interval(const std::vector<double>& values);

/// The percentile interval of `values` moved by `estimate` minus their mean: the spread of the resamples around the
/// sample's own figure, for statistics that are biased in a resample because it holds fewer distinct items (Efron and
/// Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 10). Cut to [minimum, maximum].
Interval recentred_interval(const std::vector<double>& values, double estimate, double minimum, double maximum);

/// Bias-corrected and accelerated interval (Efron, JASA 82, 1987) from the resamples of a statistic. Resamples that
/// equal the estimate count as half below it. NaN when all resamples lie on one side of the estimate.
Interval bca_interval(const std::vector<double>& resamples, double estimate, double acceleration);

/// The acceleration of a mean: the skewness of the values over 6 sqrt(n), by the jackknife. 0 where they are equal.
double acceleration_of_mean(const std::vector<double>& values);

/// Wilson's score interval for a share of `hits` among `n` (JASA 22, 1927); NaN for n = 0.
Interval wilson_interval(double hits, double n);

/// mean +- t s / sqrt(n) over a few independent draws or seeds, by Student's t; NaN for fewer than two finite values.
Interval student_interval(const std::vector<double>& values);

/// Resamples of the same `count` prompts for any number of scores: shared by all models, so that differences are
/// paired.
class Resamples {
 public:
  /// Deterministic in all three. @param resamples 0: no intervals.
  Resamples(int64_t count, int64_t resamples, uint64_t seed);

  int64_t count() const { return count_; }
  int64_t resamples() const { return resamples_; }

  /// Of each resample the sum of the values that are finite, and how many finite values were drawn.
  struct Sum {
    double total = 0;
    double drawn = 0;
  };
  std::vector<Sum> sums(std::span<const double> values) const;

  /// Of each resample the mean of the finite values; NaN where none was drawn. As many values as prompts.
  std::vector<double> means(std::span<const double> values) const;

 private:
  int64_t count_;
  int64_t resamples_;
  std::vector<uint16_t> counts_;  // [resamples, count]
};

/// A mean over prompts with its interval and how that was made.
struct MeanInterval {
  double mean = std::numeric_limits<double>::quiet_NaN();
  Interval interval;
  std::string_view method;  ///< "bca", "wilson", or "" where there is none
  int64_t n = 0;            ///< prompts with a value
};

/// The mean of the finite values (one a prompt) with its BCa interval. Where all are equal a bootstrap has no spread:
/// then a share u of prompts with another value cannot be excluded, u the upper end of Wilson's interval for 0 of n,
/// and the mean may be as low as v - u (v - minimum) and as high as v + u (maximum - v). For values 0 and 1 that is
/// Wilson's interval itself.
MeanInterval mean_interval(const Resamples& resamples, const std::vector<double>& values, double minimum,
                           double maximum);

/// exp(sum of values / sum of weights), for perplexities, with its percentile interval.
MeanInterval exponential_interval(const Resamples& resamples, const std::vector<double>& values,
                                  const std::vector<double>& weights);

}  // namespace subspect::experiments::statistics
