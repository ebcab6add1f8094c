// What the overlaps show: subspaces of weight updates, and of activations.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "experiments/report/findings.h"
#include "experiments/report/markup.h"
#include "experiments/report/support.h"
#include "experiments/statistics/summary.h"

namespace subspect::experiments::report {

using statistics::mean;

namespace {

/// The two sides of "useful/harmful"; the alignment's side is Role::aligned under whatever name.
std::pair<Role, Role> sides(const std::string& pair) {
  const size_t slash = pair.find('/');
  const auto role = [](const std::string& name) {
    const Role told = role_of(name);
    return told == Role::base ? Role::aligned : told;
  };
  return slash == std::string::npos ? std::pair(Role::other, Role::other)
                                    : std::pair(role(pair.substr(0, slash)), role(pair.substr(slash + 1)));
}

bool joins(const std::string& pair, Role a, Role b) {
  const auto both = sides(pair);
  return (both.first == a && both.second == b) || (both.first == b && both.second == a);
}

/// One pair of roles over the groups: for each the mean over the energies from 0.05 to 0.95 (close to 1 the baseline is
/// close to 1, too).
struct PairSummary {
  std::map<std::string, double> mso, excess;  ///< by group; the excess is over the random baseline
  double random = std::nan("");
  int64_t cells = 0;
  int64_t above = 0;       ///< cells over their baseline
  int64_t beyond = 0;      ///< cells over the 97.5 % quantile of random subspaces
  bool quantiles = false;  ///< whether the table has those

  bool measured() const { return cells > 0; }
  double mean_mso() const { return mean(values_of(mso)); }

  static std::vector<double> values_of(const std::map<std::string, double>& by_group) {
    std::vector<double> values;
    for (const auto& group : by_group) values.push_back(group.second);
    return values;
  }
};

PairSummary summarize(const std::vector<OverlapRow>& rows, const std::string& granularity, Role a, Role b) {
  PairSummary summary;
  std::map<std::string, std::pair<std::vector<double>, std::vector<double>>> groups;
  std::vector<double> random;
  for (const OverlapRow& row : rows) {
    if (row.granularity != granularity || !joins(row.pair, a, b)) continue;
    if (row.energy < 0.05 || row.energy > 0.95 || !std::isfinite(row.mso) || !std::isfinite(row.random)) continue;
    groups[row.group].first.push_back(row.mso);
    groups[row.group].second.push_back(row.mso - row.random);
    random.push_back(row.random);
    ++summary.cells;
    summary.above += row.mso > row.random;
    summary.beyond += row.mso > row.random_high;
    summary.quantiles = summary.quantiles || std::isfinite(row.random_high);
  }
  for (const auto& [name, values] : groups) {
    summary.mso[name] = mean(values.first);
    summary.excess[name] = mean(values.second);
  }
  summary.random = mean(random);
  return summary;
}

/// The interval of a mean over groups (tensors or layers), by resampling them.
Interval interval_over_groups(const std::vector<double>& values) {
  constexpr int64_t resamples = 2000;
  if (values.size() < 2) return {};
  return statistics::mean_interval(statistics::Resamples(static_cast<int64_t>(values.size()), resamples, 0), values, -1,
                                   1)
      .interval;
}

Finding above_chance(const PairSummary& pair, const std::string& granularity, const Thresholds& limits) {
  Finding finding{Verdict::unmeasured, "Useful and harmful updates share directions beyond chance", ""};
  if (!pair.measured()) {
    finding.numbers = "The overlap of a useful and a harmful update was not measured.";
    return finding;
  }
  const double share = static_cast<double>(pair.above) / static_cast<double>(pair.cells);
  const std::vector<double> excess = PairSummary::values_of(pair.excess);
  const Interval interval = interval_over_groups(excess);
  finding.verdict = at_least(interval, limits.overlap_excess);
  if (finding.verdict == Verdict::yes && share < 0.5) finding.verdict = Verdict::partly;
  finding.numbers = fmt::format(
      "Mean MSO is {} against {} for random subspaces of the same ranks, an excess of {} ({}, over {} {}s); {} of {} "
      "cells ({:.0f} %) lie above their baseline.",
      format_fixed(pair.mean_mso(), 2), format_fixed(pair.random, 2), format_fixed(mean(excess), 3),
      interval_text(interval, 3), pair.excess.size(), granularity, format_count(pair.above), format_count(pair.cells),
      100 * share);
  if (pair.quantiles) {
    finding.numbers +=
        fmt::format(" {} lie above the 97.5 % quantile of random subspaces, where 2.5 % would by chance.",
                    format_count(pair.beyond));
  }
  if (finding.verdict == Verdict::unsupported) {
    finding.numbers += unsupported_text("the excess may be none");
  }
  return finding;
}

Finding not_closer(const PairSummary& useful, const PairSummary& harmful, const std::string& granularity,
                   const Thresholds& limits) {
  Finding finding{Verdict::unmeasured, "The harmful update is no closer to the alignment than the useful one", ""};
  if (!useful.measured() || !harmful.measured()) {
    finding.numbers = "The overlaps of both updates with the alignment would be needed.";
    return finding;
  }
  std::vector<double> differences;
  for (const auto& [group, value] : harmful.mso) {
    const auto other = useful.mso.find(group);
    if (other != useful.mso.end()) differences.push_back(value - other->second);
  }
  const Interval interval = interval_over_groups(differences);
  finding.verdict = at_most(interval, limits.alignment_margin);
  finding.numbers = fmt::format(
      "Mean MSO with the alignment is {} for the harmful and {} for the useful update (random: {} and {}); the "
      "difference is {} ({}, paired over {} {}s).",
      format_fixed(harmful.mean_mso(), 2), format_fixed(useful.mean_mso(), 2), format_fixed(harmful.random, 2),
      format_fixed(useful.random, 2), format_fixed(mean(differences), 3), interval_text(interval, 3),
      differences.size(), granularity);
  if (finding.verdict == Verdict::no) {
    finding.numbers += fmt::format(" The harmful one is closer by {}, more than the {} that would count as equal.",
                                   format_fixed(mean(differences), 2), limits.alignment_margin);
  }
  if (finding.verdict == Verdict::unsupported) {
    finding.numbers += unsupported_text(
        fmt::format("the interval allows a difference of more than {}, which would count", limits.alignment_margin));
  }
  return finding;
}

/// Mean overlap of each pair, for runs whose names do not tell which is useful and which harmful.
std::vector<Finding> pair_facts(const std::vector<OverlapRow>& rows) {
  std::map<std::string, std::pair<std::vector<double>, std::vector<double>>> pairs;
  for (const OverlapRow& row : rows) {
    if (!std::isfinite(row.mso) || !std::isfinite(row.random)) continue;
    pairs[row.pair].first.push_back(row.mso);
    pairs[row.pair].second.push_back(row.random);
  }
  std::vector<Finding> facts;
  for (const auto& entry : pairs) {
    facts.push_back(
        {Verdict::fact, entry.first,
         fmt::format("Mean MSO is {} against {} for random subspaces of the same ranks.",
                     format_fixed(mean(entry.second.first), 2), format_fixed(mean(entry.second.second), 2))});
  }
  if (facts.size() > 8) facts.resize(8);
  return facts;
}

}  // namespace

std::vector<Finding> overlap_findings(const std::vector<OverlapRow>& rows, const Thresholds& limits) {
  if (rows.empty()) return {};
  const auto granularities =
      distinct(rows, [](const OverlapRow& row) -> const std::string& { return row.granularity; });
  const bool by_tensor = std::find(granularities.begin(), granularities.end(), "tensor") != granularities.end();
  const std::string granularity = by_tensor ? "tensor" : granularities.front();
  const PairSummary together = summarize(rows, granularity, Role::useful, Role::harmful);
  const PairSummary useful = summarize(rows, granularity, Role::useful, Role::aligned);
  const PairSummary harmful = summarize(rows, granularity, Role::harmful, Role::aligned);
  if (!together.measured() && !useful.measured() && !harmful.measured()) return pair_facts(rows);
  return {above_chance(together, granularity, limits), not_closer(useful, harmful, granularity, limits)};
}

namespace {

/// Means over the rows of activations. The bounds are the means of the rows' bounds: as wide as the interval of the
/// mean can be, since the rows share their prompts.
struct ActivationMeans {
  double value = std::nan("");
  Interval interval;
};

ActivationMeans means_of(const std::vector<ActivationRow>& rows, double ActivationRow::*value,
                         Interval ActivationRow::*interval) {
  std::vector<double> values, lows, highs;
  for (const ActivationRow& row : rows) {
    if (!std::isfinite(row.mso) || !std::isfinite(row.random)) continue;
    values.push_back(row.*value);
    lows.push_back((row.*interval).low);
    highs.push_back((row.*interval).high);
  }
  return {mean(values), {mean(lows), mean(highs)}};
}

/// " A linear probe tells the two sets apart with held-out accuracy 0.99 (95 %: 0.97 to 1.00), ..."
std::string probe_aside(const std::vector<ProbeRow>& probes) {
  std::vector<double> values, lows, highs;
  for (const ProbeRow& probe : probes) {
    if (probe.method != "linear_probe") continue;
    values.push_back(probe.accuracy);
    lows.push_back(probe.interval.low);
    highs.push_back(probe.interval.high);
  }
  if (values.empty()) return "";
  return fmt::format(
      " Yet a linear probe tells the two sets apart with a held-out accuracy of {} ({}), mean over models "
      "and layers: sharing a subspace does not mean being alike.",
      format_fixed(mean(values), 2), interval_text({mean(lows), mean(highs)}, 2));
}

/// How much of the control's excess over chance the two sets share, by the bounds of both.
Interval share_of_control(const ActivationMeans& pair, const ActivationMeans& control, double random) {
  const double least = (pair.interval.low - random) / (control.interval.high - random);
  const double most = (pair.interval.high - random) / (control.interval.low - random);
  return control.interval.low > random ? Interval{least, most} : Interval{};
}

}  // namespace

std::vector<Finding> activation_findings(const std::vector<ActivationRow>& rows, const std::vector<ProbeRow>& probes,
                                         const Thresholds& limits) {
  const ActivationMeans mso = means_of(rows, &ActivationRow::mso, &ActivationRow::interval);
  if (!std::isfinite(mso.value)) return {};
  const ActivationMeans control = means_of(rows, &ActivationRow::control, &ActivationRow::control_interval);
  const ActivationMeans halves = means_of(rows, &ActivationRow::halves, &ActivationRow::halves_interval);
  const ActivationMeans random = means_of(rows, &ActivationRow::random, &ActivationRow::random_interval);
  const ActivationMeans& alike = std::isfinite(halves.value) ? halves : mso;
  Finding finding{Verdict::unmeasured, "Useful and harmful prompts activate overlapping subspaces", ""};
  finding.numbers = fmt::format(
      "Over models, layers and energies, mean MSO is {} ({}) against {} for random subspaces. Two halves of the useful "
      "prompts (the control) share {} ({})",
      format_fixed(mso.value, 2), interval_text(mso.interval, 2), format_fixed(random.value, 2),
      format_fixed(control.value, 2), interval_text(control.interval, 2));
  finding.numbers += std::isfinite(halves.value)
                         ? fmt::format(", useful and harmful halves of that size {} ({}).",
                                       format_fixed(halves.value, 2), interval_text(halves.interval, 2))
                         : ".";
  const Verdict above = at_least(mso.interval, random.value);
  const Interval share = share_of_control(alike, control, random.value);
  finding.verdict = above;
  if (above == Verdict::yes) {
    const Verdict enough = at_least(share, limits.control_share);
    finding.verdict = enough == Verdict::yes ? Verdict::yes : Verdict::partly;
    if (is_known(share)) {
      finding.numbers += fmt::format(" That is {:.0f} % ({}) of what the control shares beyond chance.",
                                     100 * (alike.value - random.value) / (control.value - random.value),
                                     interval_text({100 * share.low, 100 * share.high}, 0));
    } else {
      finding.numbers += " Without a control above chance, how much they share cannot be judged.";
    }
    if (enough == Verdict::unsupported && is_known(share)) {
      finding.numbers += unsupported_text(
          fmt::format("whether that is {:.0f} % or more, which would count", 100 * limits.control_share));
    }
  } else if (above == Verdict::unsupported) {
    finding.numbers += unsupported_text(is_known(mso.interval) ? "the overlap may be that of random subspaces"
                                                               : "set `resamples`, and the overlap gets an interval");
  }
  finding.numbers += probe_aside(probes);
  return {finding};
}

}  // namespace subspect::experiments::report
