// Means, quantiles, concordance and interpolation.
#include "experiments/statistics/summary.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>

namespace subspect::experiments::statistics {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

}  // namespace

double mean(const std::vector<double>& values) {
  double sum = 0;
  size_t count = 0;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    sum += value;
    ++count;
  }
  return count == 0 ? nan : sum / static_cast<double>(count);
}

double variance(const std::vector<double>& values) {
  const double middle = mean(values);
  double sum = 0;
  size_t count = 0;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    sum += (value - middle) * (value - middle);
    ++count;
  }
  return count < 2 ? nan : sum / static_cast<double>(count - 1);
}

double quantile(std::vector<double> values, double q) {
  values.erase(std::remove_if(values.begin(), values.end(), [](double v) { return !std::isfinite(v); }), values.end());
  if (values.empty()) return nan;
  std::sort(values.begin(), values.end());
  const double at = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (at - static_cast<double>(below)) * (values[above] - values[below]);
}

double concordance(const std::vector<std::pair<double, double>>& points, double tolerance) {
  int64_t agree = 0, differ = 0;
  for (size_t i = 0; i < points.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const double x = points[i].first - points[j].first, y = points[i].second - points[j].second;
      if (!std::isfinite(x) || !std::isfinite(y) || x == 0 || std::abs(y) <= tolerance) continue;
      ++differ;
      agree += (x > 0) == (y > 0) ? 1 : 0;
    }
  }
  return differ > 0 ? static_cast<double>(agree) / static_cast<double>(differ) : nan;
}

double interpolate(const std::vector<std::pair<double, double>>& points, double x) {
  std::vector<std::pair<double, double>> merged;
  for (size_t begin = 0; begin < points.size();) {
    size_t end = begin;
    double sum = 0;
    for (; end < points.size() && points[end].first == points[begin].first; ++end) sum += points[end].second;
    merged.emplace_back(points[begin].first, sum / static_cast<double>(end - begin));
    begin = end;
  }
  for (size_t i = 0; i < merged.size(); ++i) {
    if (merged[i].first == x) return merged[i].second;
    if (i + 1 < merged.size() && merged[i].first < x && x < merged[i + 1].first) {
      const double t = (x - merged[i].first) / (merged[i + 1].first - merged[i].first);
      return merged[i].second + t * (merged[i + 1].second - merged[i].second);
    }
  }
  return nan;
}

}  // namespace subspect::experiments::statistics
