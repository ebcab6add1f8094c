// Resamples and the intervals made of them.
#include "experiments/statistics/intervals.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "experiments/statistics/distributions.h"
#include "experiments/statistics/summary.h"
#include "runtime/error.h"
#include "runtime/random.h"

namespace subspect::experiments::statistics {

namespace {

std::vector<double> finite_values(const std::vector<double>& values) {
  std::vector<double> kept;
  std::copy_if(values.begin(), values.end(), std::back_inserter(kept), [](double x) { return std::isfinite(x); });
  return kept;
}

bool all_equal(const std::vector<double>& values) {
  return std::adjacent_find(values.begin(), values.end(), std::not_equal_to<>()) == values.end();
}

}  // namespace

std::vector<int64_t> resample_counts(int64_t count, uint64_t seed, std::string_view label) {
  runtime::Random random(seed, runtime::stream_of(label));
  std::vector<int64_t> counts(static_cast<size_t>(count), 0);
  for (int64_t i = 0; i < count; ++i) ++counts[random.below(static_cast<uint64_t>(count))];
  return counts;
}

Interval percentile_interval(const std::vector<double>& values) {
  return {quantile(values, tail), quantile(values, 1 - tail)};
}

Interval recentred_interval(const std::vector<double>& values, double estimate, double minimum, double maximum) {
  const Interval plain = percentile_interval(values);
  const double shift = estimate - mean(values);
  if (!std::isfinite(shift)) return {};
  return {std::clamp(plain.low + shift, minimum, maximum), std::clamp(plain.high + shift, minimum, maximum)};
}

Interval bca_interval(const std::vector<double>& resamples, double estimate, double acceleration) {
  const std::vector<double> values = finite_values(resamples);
  if (values.empty() || !std::isfinite(estimate)) return {};
  double below = 0;
  for (const double value : values) below += value < estimate ? 1.0 : value == estimate ? 0.5 : 0.0;
  const double bias = normal_quantile(below / static_cast<double>(values.size()));
  const auto place = [&](double share) {
    const double z = bias + normal_quantile(share);
    return normal_cdf(bias + z / (1 - acceleration * z));
  };
  if (!std::isfinite(bias)) return {};
  return {quantile(values, place(tail)), quantile(values, place(1 - tail))};
}

double acceleration_of_mean(const std::vector<double>& values) {
  const double middle = mean(values);
  double squares = 0, cubes = 0;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    squares += (value - middle) * (value - middle);
    cubes += (value - middle) * (value - middle) * (value - middle);
  }
  return squares > 0 ? cubes / (6 * std::pow(squares, 1.5)) : 0;
}

Interval wilson_interval(double hits, double n) {
  if (!(n > 0)) return {};
  const double z = normal_quantile(1 - tail), share = hits / n, squared = z * z / n;
  const double centre = share + squared / 2;
  const double reach = z * std::sqrt(share * (1 - share) / n + squared / (4 * n));
  return {std::max(0.0, (centre - reach) / (1 + squared)), std::min(1.0, (centre + reach) / (1 + squared))};
}

Interval student_interval(const std::vector<double>& values) {
  const std::vector<double> kept = finite_values(values);
  if (kept.size() < 2) return {};
  const auto n = static_cast<double>(kept.size());
  const double reach = student_quantile(1 - tail, n - 1) * std::sqrt(variance(kept) / n);
  return {mean(kept) - reach, mean(kept) + reach};
}

Resamples::Resamples(int64_t count, int64_t resamples, uint64_t seed) : count_(count), resamples_(resamples) {
  runtime::require(count >= 0 && resamples >= 0, "Resamples", "numbers of prompts and resamples are required");
  counts_.assign(static_cast<size_t>(count * resamples), 0);
  runtime::Random random(seed, runtime::stream_of("prompts"));
  for (int64_t r = 0; r < resamples; ++r) {
    uint16_t* row = counts_.data() + r * count;
    for (int64_t i = 0; i < count; ++i) {
      uint16_t& drawn = row[random.below(static_cast<uint64_t>(count))];
      if (drawn < std::numeric_limits<uint16_t>::max()) ++drawn;
    }
  }
}

std::vector<Resamples::Sum> Resamples::sums(std::span<const double> values) const {
  runtime::require(static_cast<int64_t>(values.size()) == count_, "Resamples::sums",
                   "{} values are required, one a prompt, not {}", count_, values.size());
  std::vector<double> known(values.size()), filled(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    known[i] = std::isfinite(values[i]) ? 1.0 : 0.0;
    filled[i] = std::isfinite(values[i]) ? values[i] : 0.0;
  }
  std::vector<Sum> sums(static_cast<size_t>(resamples_));
  for (size_t r = 0; r < sums.size(); ++r) {
    const uint16_t* row = counts_.data() + r * values.size();
    for (size_t i = 0; i < values.size(); ++i) {
      sums[r].total += row[i] * filled[i];
      sums[r].drawn += row[i] * known[i];
    }
  }
  return sums;
}

std::vector<double> Resamples::means(std::span<const double> values) const {
  std::vector<double> means;
  for (const Sum& sum : sums(values)) means.push_back(sum.drawn > 0 ? sum.total / sum.drawn : std::nan(""));
  return means;
}

MeanInterval mean_interval(const Resamples& resamples, const std::vector<double>& values, double minimum,
                           double maximum) {
  const std::vector<double> kept = finite_values(values);
  MeanInterval result;
  result.n = static_cast<int64_t>(kept.size());
  result.mean = mean(kept);
  if (kept.empty() || resamples.resamples() == 0) return result;
  if (all_equal(kept)) {
    const double others = wilson_interval(0, static_cast<double>(kept.size())).high;
    result.interval = {result.mean - others * (result.mean - minimum), result.mean + others * (maximum - result.mean)};
    result.method = "wilson";
  } else {
    result.interval = bca_interval(resamples.means(values), result.mean, acceleration_of_mean(kept));
    result.method = "bca";
  }
  return result;
}

MeanInterval exponential_interval(const Resamples& resamples, const std::vector<double>& values,
                                  const std::vector<double>& weights) {
  MeanInterval result;
  double total = 0, weight = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    total += values[i];
    weight += weights[i];
    result.n += weights[i] > 0 ? 1 : 0;
  }
  if (!(weight > 0)) return result;
  result.mean = std::exp(total / weight);
  if (resamples.resamples() == 0 || result.n < 2) return result;
  const auto totals = resamples.sums(values), drawn = resamples.sums(weights);
  std::vector<double> ratios;
  for (size_t r = 0; r < totals.size(); ++r) ratios.push_back(std::exp(totals[r].total / drawn[r].total));
  result.interval = percentile_interval(ratios);
  result.method = "percentile";
  return result;
}

}  // namespace subspect::experiments::statistics
