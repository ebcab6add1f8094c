// Where the ticks of an axis go.
#include <algorithm>
#include <cmath>

#include "experiments/report/plot.h"

namespace subspect::experiments::report {

namespace {

/// The step 1, 2 or 5 times a power of ten nearest above `rough`.
double nice_step(double rough) {
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  const double leading = rough / power;
  const double factor = leading <= 1.0001 ? 1 : leading <= 2.0001 ? 2 : leading <= 5.0001 ? 5 : 10;
  return factor * power;
}

std::vector<double> linear_ticks(double minimum, double maximum, int count) {
  const double step = nice_step((maximum - minimum) / std::max(1, count));
  const double slack = 1e-9 * (maximum - minimum);
  std::vector<double> ticks;
  for (double i = std::ceil((minimum - slack) / step); i * step <= maximum + slack; ++i) {
    ticks.push_back(i == 0 ? 0.0 : i * step);
    if (ticks.size() > 100) break;
  }
  return ticks;
}

std::vector<double> log_ticks(double minimum, double maximum, int count) {
  const int first = static_cast<int>(std::floor(std::log10(minimum) + 1e-9));
  const int last = static_cast<int>(std::ceil(std::log10(maximum) - 1e-9));
  const int decades = std::max(1, last - first);
  const int stride = std::max(1, static_cast<int>(std::ceil(static_cast<double>(decades) / std::max(1, count))));
  const std::vector<double> between = decades * 3 <= 2 * count ? std::vector<double>{1, 2, 5} : std::vector<double>{1};
  std::vector<double> ticks;
  for (int decade = first; decade <= last; decade += stride) {
    for (const double factor : between) {
      const double value = factor * std::pow(10.0, decade);
      if (value >= minimum * (1 - 1e-9) && value <= maximum * (1 + 1e-9)) ticks.push_back(value);
    }
  }
  return ticks.size() < 2 ? linear_ticks(minimum, maximum, count) : ticks;
}

}  // namespace

std::vector<double> nice_ticks(Scale scale, double minimum, double maximum, int count) {
  if (!(maximum > minimum) || !std::isfinite(minimum) || !std::isfinite(maximum)) return {minimum};
  if (scale == Scale::log && minimum > 0) return log_ticks(minimum, maximum, count);
  return linear_ticks(minimum, maximum, count);
}

}  // namespace subspect::experiments::report
