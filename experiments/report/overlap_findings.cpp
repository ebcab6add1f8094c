// What the overlaps show: subspaces of weight updates, and of activations.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "experiments/report/findings.h"
#include "experiments/report/markup.h"
#include "experiments/report/statistics.h"

namespace subspect::experiments::report {

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

struct PairSummary {
  double mso = std::nan("");
  double random = std::nan("");
  int64_t cells = 0;
  int64_t above = 0;

  bool measured() const { return cells > 0 && std::isfinite(mso); }
};

/// Mean over the groups and the energies from 0.05 to 0.95 (close to 1 the baseline is close to 1, too).
PairSummary summarize(const std::vector<OverlapRow>& rows, const std::string& granularity, Role a, Role b) {
  PairSummary summary;
  std::vector<double> mso, random;
  for (const OverlapRow& row : rows) {
    if (row.granularity != granularity || !joins(row.pair, a, b)) continue;
    if (row.energy < 0.05 || row.energy > 0.95 || !std::isfinite(row.mso) || !std::isfinite(row.random)) continue;
    mso.push_back(row.mso);
    random.push_back(row.random);
    ++summary.cells;
    summary.above += row.mso > row.random;
  }
  summary.mso = mean(mso);
  summary.random = mean(random);
  return summary;
}

Finding above_chance(const PairSummary& pair, const Thresholds& limits) {
  Finding finding{Verdict::unmeasured, "Useful and harmful updates share directions beyond chance", ""};
  if (!pair.measured()) {
    finding.numbers = "The overlap of a useful and a harmful update was not measured.";
    return finding;
  }
  const double share = static_cast<double>(pair.above) / static_cast<double>(pair.cells);
  const bool higher = pair.mso - pair.random > limits.overlap_excess;
  finding.verdict = higher && share >= 0.5 ? Verdict::yes : higher ? Verdict::partly : Verdict::no;
  finding.numbers = fmt::format(
      "Mean MSO is {} against {} for random subspaces of the same ranks; {} of {} cells ({:.0f} %) lie above their "
      "baseline.",
      format_fixed(pair.mso, 2), format_fixed(pair.random, 2), format_count(pair.above), format_count(pair.cells),
      100 * share);
  return finding;
}

Finding not_closer(const PairSummary& useful, const PairSummary& harmful, const Thresholds& limits) {
  Finding finding{Verdict::unmeasured, "The harmful update is no closer to the alignment than the useful one", ""};
  if (!useful.measured() || !harmful.measured()) {
    finding.numbers = "The overlaps of both updates with the alignment would be needed.";
    return finding;
  }
  const double difference = harmful.mso - useful.mso;
  finding.verdict = difference <= limits.alignment_margin ? Verdict::yes : Verdict::no;
  finding.numbers = fmt::format(
      "Mean MSO with the alignment is {} for the harmful and {} for the useful update "
      "(random: {} and {}).",
      format_fixed(harmful.mso, 2), format_fixed(useful.mso, 2), format_fixed(harmful.random, 2),
      format_fixed(useful.random, 2));
  if (finding.verdict == Verdict::no) {
    finding.numbers += fmt::format(" The harmful one is closer by {}, more than the {} that would count as equal.",
                                   format_fixed(difference, 2), limits.alignment_margin);
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
  return {above_chance(together, limits), not_closer(useful, harmful, limits)};
}

std::vector<Finding> activation_findings(const std::vector<ActivationRow>& rows, const Thresholds& limits) {
  std::vector<double> mso, random, control;
  int64_t above = 0;
  for (const ActivationRow& row : rows) {
    if (!std::isfinite(row.mso) || !std::isfinite(row.random)) continue;
    mso.push_back(row.mso);
    random.push_back(row.random);
    above += row.mso > row.random;
    if (std::isfinite(row.control)) control.push_back(row.control);
  }
  if (mso.empty()) return {};
  Finding finding{Verdict::unmeasured, "Useful and harmful prompts activate overlapping subspaces", ""};
  const double excess = mean(mso) - mean(random), span = mean(control) - mean(random);
  finding.numbers = fmt::format(
      "Over models, layers and energies, mean MSO is {} against {} at random and {} between two halves of the useful "
      "prompts (the control); {} of {} cells lie above random.",
      format_fixed(mean(mso), 2), format_fixed(mean(random), 2), format_fixed(mean(control), 2), format_count(above),
      format_count(static_cast<int64_t>(mso.size())));
  const bool mostly = 2 * above >= static_cast<int64_t>(mso.size());
  if (excess <= 0 || !mostly) {
    finding.verdict = Verdict::no;
  } else if (!(span > 0)) {
    finding.verdict = Verdict::partly;
    finding.numbers += " Without a control above chance, how much they share cannot be judged.";
  } else {
    finding.verdict = excess / span >= limits.control_share ? Verdict::yes : Verdict::partly;
    finding.numbers += fmt::format(" That is {:.0f} % of what the control shares beyond chance.", 100 * excess / span);
  }
  return {finding};
}

}  // namespace subspect::experiments::report
