// What an interval supports: the verdicts of claims that compare a measured figure with a threshold.
#pragma once

#include <string>
#include <vector>

#include "experiments/report/findings.h"
#include "experiments/report/rows.h"
#include "experiments/statistics/intervals.h"

namespace subspect::experiments::report {

using statistics::Interval;

bool is_known(const Interval& interval);

/// Whether the whole interval is at or above `threshold` (yes), below it (no), or neither (unsupported; also without an
/// interval).
Verdict at_least(const Interval& interval, double threshold);
/// The same for at or below it.
Verdict at_most(const Interval& interval, double threshold);

/// Whether a difference is at least `threshold` >= 0: by its interval and, for a yes, also by its test after Holm's
/// correction at the level of 5 %. Where few prompts differ, a bootstrap interval alone is too short.
Verdict at_least(const ComparisonRow& difference, double threshold);
constexpr double significance_level = 0.05;

/// One verdict of several: the common one; yes with anything else is partly; no with unsupported is no.
Verdict combined(const std::vector<Verdict>& verdicts);

/// "95 %: 0.41 to 0.60", or "no interval was computed".
std::string interval_text(const Interval& interval, int decimals);
/// "p < 0.001", "p = 0.034".
std::string p_text(double p);
/// "Not supported by these data: WHAT."
std::string unsupported_text(const std::string& what);

/// The comparison of a model of role `of` with one of role `against` among the unprojected models, as `of` - `against`
/// (rows may have them the other way round); of several the widest interval and the mean of the differences. `n` is 0
/// where there is none.
ComparisonRow compared_roles(const std::vector<ComparisonRow>& rows, bool utility, Role of, Role against);

/// Whether a metric of an evaluation is the utility (higher is more useful) or the mean harmfulness.
bool is_utility(const std::string& metric);
bool is_harmfulness(const std::string& metric);

}  // namespace subspect::experiments::report
