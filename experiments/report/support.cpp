// Verdicts of intervals.
#include "experiments/report/support.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "experiments/report/markup.h"
#include "experiments/statistics/summary.h"

namespace subspect::experiments::report {

namespace {

std::string lower_case(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

bool is_known(const Interval& interval) {
  return std::isfinite(interval.low) && std::isfinite(interval.high);
}

Verdict at_least(const Interval& interval, double threshold) {
  if (!is_known(interval)) return Verdict::unsupported;
  return interval.low >= threshold ? Verdict::yes : interval.high < threshold ? Verdict::no : Verdict::unsupported;
}

Verdict at_most(const Interval& interval, double threshold) {
  if (!is_known(interval)) return Verdict::unsupported;
  return interval.high <= threshold ? Verdict::yes : interval.low > threshold ? Verdict::no : Verdict::unsupported;
}

Verdict at_least(const ComparisonRow& difference, double threshold) {
  const Verdict by_interval = at_least(difference.interval, threshold);
  const bool tested = difference.p_holm <= significance_level;
  return by_interval == Verdict::yes && !tested ? Verdict::unsupported : by_interval;
}

Verdict combined(const std::vector<Verdict>& verdicts) {
  const auto all = [&](Verdict each) {
    return std::all_of(verdicts.begin(), verdicts.end(), [&](Verdict v) { return v == each; });
  };
  const auto any = [&](Verdict each) { return std::find(verdicts.begin(), verdicts.end(), each) != verdicts.end(); };
  if (verdicts.empty()) return Verdict::unmeasured;
  if (all(verdicts.front())) return verdicts.front();
  return any(Verdict::yes) ? Verdict::partly : any(Verdict::no) ? Verdict::no : Verdict::unsupported;
}

std::string interval_text(const Interval& interval, int decimals) {
  if (!is_known(interval)) return "no interval was computed";
  return fmt::format("95 %: {} to {}", format_fixed(interval.low, decimals), format_fixed(interval.high, decimals));
}

std::string p_text(double p) {
  if (!std::isfinite(p)) return "p not known";
  return p < 0.001 ? "p < 0.001" : fmt::format("p = {}", format_fixed(p, 3));
}

std::string unsupported_text(const std::string& what) {
  return fmt::format(" Not supported by these data: {}.", what);
}

ComparisonRow compared_roles(const std::vector<ComparisonRow>& rows, bool utility, Role of, Role against) {
  ComparisonRow result;
  std::vector<double> differences, lows, highs, p_values;
  for (const ComparisonRow& row : rows) {
    if (row.family != "models" || !(utility ? is_utility(row.metric) : is_harmfulness(row.metric))) continue;
    const bool forwards = role_of(row.model) == of && role_of(row.against) == against;
    const bool backwards = role_of(row.model) == against && role_of(row.against) == of;
    if (!forwards && !backwards) continue;
    result.n = row.n;
    result.detectable = row.detectable;
    differences.push_back(forwards ? row.difference : -row.difference);
    lows.push_back(forwards ? row.interval.low : -row.interval.high);
    highs.push_back(forwards ? row.interval.high : -row.interval.low);
    p_values.push_back(row.p_holm);
  }
  result.difference = statistics::mean(differences);
  result.interval = {statistics::quantile(lows, 0), statistics::quantile(highs, 1)};
  result.p_holm = statistics::quantile(p_values, 1);
  return result;
}

bool is_utility(const std::string& metric) {
  const std::string lower = lower_case(metric);
  return lower == "utility" || lower == "accuracy" || lower.find("flexible") != std::string::npos;
}

bool is_harmfulness(const std::string& metric) {
  const std::string lower = lower_case(metric);
  return lower == "harmfulness" || lower == "harmfulness_mean" || lower == "mean_harmfulness";
}

}  // namespace subspect::experiments::report
