// Resamples and percentiles.
#include "experiments/subspace/bootstrap.h"

#include <algorithm>
#include <cmath>

#include "runtime/random.h"

namespace subspect::experiments::subspace {

std::vector<int64_t> resample_counts(int64_t count, uint64_t seed, std::string_view label) {
  runtime::Random random(seed, runtime::stream_of(label));
  std::vector<int64_t> counts(static_cast<size_t>(count), 0);
  for (int64_t i = 0; i < count; ++i) ++counts[random.below(static_cast<uint64_t>(count))];
  return counts;
}

Interval percentile_interval(std::vector<double> values) {
  values.erase(std::remove_if(values.begin(), values.end(), [](double x) { return !std::isfinite(x); }), values.end());
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    const double place = share * static_cast<double>(values.size() - 1);
    const auto below = static_cast<size_t>(place);
    const size_t above = std::min(below + 1, values.size() - 1);
    return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
  };
  return {at(0.025), at(0.975)};
}

}  // namespace subspect::experiments::subspace
