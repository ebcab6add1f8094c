// What the projected models show: scores against the energy of the update that was kept.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "experiments/report/findings.h"
#include "experiments/report/markup.h"
#include "experiments/report/score_claims.h"
#include "experiments/report/support.h"
#include "experiments/statistics/summary.h"

namespace subspect::experiments::report {

using statistics::mean;
using statistics::quantile;

namespace {

bool is_projected(const ProjectionRow& row) {
  return row.basis != "none";
}

ModelScores unprojected_scores(const std::vector<ProjectionRow>& rows) {
  ModelScores scores;
  for (const ProjectionRow& row : rows) {
    if (is_projected(row)) continue;
    scores.add_utility(row.model, row.utility);
    scores.add_harmfulness(row.model, row.harmfulness);
  }
  return scores;
}

/// One of the two scores, its name, and the roles in which fine-tuning moves it.
struct Score {
  const char* name;
  bool (*is_metric)(const std::string& metric);
  double (ModelScores::*of_role)(Role) const;
  Role moved_by;
  double least_range;  ///< a smaller change by fine-tuning says nothing about projections
};

const Score utility_score{"utility", is_utility, &ModelScores::utility, Role::useful, 0.05};
const Score harmfulness_score{"harmfulness", is_harmfulness, &ModelScores::harmfulness, Role::harmful, 0.5};

/// Whether fine-tuning moved this score of models with that role far enough to follow it down.
bool moves(const Score& score, const ModelScores& scores, Role role) {
  if (role != score.moved_by && role != Role::contaminated) return false;
  return (scores.*score.of_role)(role) - (scores.*score.of_role)(Role::aligned) >= score.least_range;
}

/// The trends of the models that were fine-tuned to move this score (the contaminated ones where there are no others):
/// mean concordance and the widest interval. NaN where there are none.
TrendRow trend_of(const Score& score, const ProjectionTables& tables, const ModelScores& scores) {
  const auto of_score = [&](const TrendRow& row) { return score.is_metric(row.metric); };
  const bool pure = std::any_of(tables.trends.begin(), tables.trends.end(), [&](const TrendRow& row) {
    return of_score(row) && role_of(row.model) == score.moved_by;
  });
  const Role role = pure ? score.moved_by : Role::contaminated;
  std::vector<double> values, lows, highs;
  for (const TrendRow& row : tables.trends) {
    if (!of_score(row) || role_of(row.model) != role || !moves(score, scores, role)) continue;
    values.push_back(row.value);
    lows.push_back(row.interval.low);
    highs.push_back(row.interval.high);
  }
  return {"", score.name, mean(values), {quantile(lows, 0), quantile(highs, 1)}};
}

/// Yes where at least `limit` of the pairs agree and, by the interval, more than half do; no where the interval stays
/// below the limit.
Verdict follows(const TrendRow& trend, double limit) {
  if (!is_known(trend.interval)) return Verdict::unsupported;
  if (trend.value >= limit && trend.interval.low > 0.5) return Verdict::yes;
  return trend.interval.high < limit ? Verdict::no : Verdict::unsupported;
}

Finding falls_together(const ProjectionTables& tables, const ModelScores& scores, const Thresholds& limits) {
  Finding finding{Verdict::unmeasured, "Utility and harmfulness fall together as the update's energy is removed", ""};
  std::vector<Verdict> verdicts;
  std::vector<std::string> parts;
  for (const Score* score : {&utility_score, &harmfulness_score}) {
    const TrendRow trend = trend_of(*score, tables, scores);
    if (!std::isfinite(trend.value)) {
      parts.push_back(fmt::format("the higher {} in a share that was not measured", score->name));
      continue;
    }
    verdicts.push_back(follows(trend, limits.concordance));
    parts.push_back(fmt::format("the higher {} in {} % of pairs ({})", score->name, format_fixed(100 * trend.value, 0),
                                interval_text({100 * trend.interval.low, 100 * trend.interval.high}, 0)));
  }
  if (verdicts.empty()) {
    finding.numbers = "No projected model was evaluated whose score fine-tuning had moved.";
    return finding;
  }
  finding.verdict = verdicts.size() < 2 && combined(verdicts) == Verdict::yes ? Verdict::partly : combined(verdicts);
  finding.numbers =
      fmt::format("Where two parallel projections onto one basis differ, the one that keeps more energy has {} and {}.",
                  parts[0], parts[1]);
  if (finding.verdict != Verdict::yes) {
    finding.numbers += fmt::format(" At least {} % in both would count as falling together.",
                                   format_fixed(100 * limits.concordance, 0));
  }
  if (finding.verdict == Verdict::unsupported) {
    finding.numbers += unsupported_text("more or other prompts could change the answer");
  }
  return finding;
}

/// The bases' differences at equal energy in one score, as shares of what fine-tuning moved: the largest one, and the
/// verdict of all.
struct BasisGap {
  Verdict verdict = Verdict::unmeasured;
  double largest = std::nan("");  ///< signed
  Interval interval;              ///< of the largest
  std::string bases;              ///< "random against top_k (useful)"
};

BasisGap basis_gap(const Score& score, const ProjectionTables& tables, const ModelScores& scores, double limit) {
  BasisGap gap;
  std::vector<Verdict> verdicts;
  for (const ComparisonRow& row : tables.comparisons) {
    if (row.family != "equal_energy" || !score.is_metric(row.metric)) continue;
    const Role role = role_of(row.model);
    if (!moves(score, scores, role)) continue;
    const double range = (scores.*score.of_role)(role) - (scores.*score.of_role)(Role::aligned);
    const Interval relative{row.interval.low / range, row.interval.high / range};
    const bool inside = is_known(relative) && relative.low >= -limit && relative.high <= limit;
    const bool beyond = is_known(relative) && (relative.low > limit || relative.high < -limit);
    const bool outside = beyond && row.p_holm <= significance_level;
    verdicts.push_back(inside ? Verdict::yes : outside ? Verdict::no : Verdict::unsupported);
    if (std::isfinite(gap.largest) && std::abs(row.difference / range) <= std::abs(gap.largest)) continue;
    gap.largest = row.difference / range;
    gap.interval = relative;
    gap.bases = fmt::format("{} against {} ({})", row.basis, row.against, row.model);
  }
  // One pair of bases that differs refutes the claim; all pairs must be alike to bear it out.
  const bool refuted = std::find(verdicts.begin(), verdicts.end(), Verdict::no) != verdicts.end();
  const bool open = std::find(verdicts.begin(), verdicts.end(), Verdict::unsupported) != verdicts.end();
  if (!verdicts.empty()) gap.verdict = refuted ? Verdict::no : open ? Verdict::unsupported : Verdict::yes;
  return gap;
}

/// "At the same fraction (0.25), top_k keeps 41 % of the energy and random 17 %." for the fraction nearest a quarter.
std::string energy_aside(const std::vector<ProjectionRow>& rows) {
  double fraction = std::nan("");
  for (const ProjectionRow& row : rows) {
    const bool nearer = std::isnan(fraction) || std::abs(row.fraction - 0.25) < std::abs(fraction - 0.25);
    if (is_projected(row) && row.mode == "same" && std::isfinite(row.fraction) && nearer) fraction = row.fraction;
  }
  std::map<std::string, std::vector<double>> energies;
  for (const ProjectionRow& row : rows) {
    if (is_projected(row) && row.mode == "same" && row.fraction == fraction)
      energies[row.basis].push_back(row.energy_kept);
  }
  if (energies.count("top_k") == 0 || energies.count("random") == 0) return "";
  return fmt::format(" At the same fraction ({}), top_k keeps {} of the energy and random {}.", format_number(fraction),
                     format_fixed(mean(energies["top_k"]), 2), format_fixed(mean(energies["random"]), 2));
}

Finding energy_decides(const ProjectionTables& tables, const ModelScores& scores, const Thresholds& limits) {
  Finding finding{Verdict::unmeasured, "Energy decides, not the basis", ""};
  std::vector<Verdict> verdicts;
  std::string parts;
  for (const Score* score : {&utility_score, &harmfulness_score}) {
    const BasisGap gap = basis_gap(*score, tables, scores, limits.basis_gap);
    if (gap.verdict == Verdict::unmeasured) continue;
    verdicts.push_back(gap.verdict);
    parts += fmt::format("{} {} % of its range in {} ({}; {})", parts.empty() ? "" : ", and",
                         format_fixed(100 * gap.largest, 0), score->name, gap.bases,
                         interval_text({100 * gap.interval.low, 100 * gap.interval.high}, 0));
  }
  if (verdicts.empty()) {
    finding.numbers = "Evaluated projections onto at least two bases would be needed.";
    return finding;
  }
  finding.verdict = combined(verdicts);
  finding.numbers = fmt::format("At equal energy, averaged from 5 to 95 %, the bases differ most by{}.{}", parts,
                                energy_aside(tables.rows));
  if (finding.verdict != Verdict::yes) {
    finding.numbers += fmt::format(" Intervals within {:.0f} % would count as the same.", 100 * limits.basis_gap);
  }
  if (finding.verdict == Verdict::unsupported) {
    finding.numbers += unsupported_text("the intervals allow both that the bases differ and that they do not");
  }
  return finding;
}

/// The contaminated model's projections orthogonal to the alignment, most energy kept first.
std::vector<CellRow> orthogonal_cells(const std::vector<CellRow>& cells) {
  std::vector<CellRow> chosen;
  for (const CellRow& cell : cells) {
    const bool wanted = cell.basis == "top_k" && cell.mode == "orth" && role_of(cell.model) == Role::contaminated;
    if (wanted && std::isfinite(cell.harmfulness) && std::isfinite(cell.energy_kept)) chosen.push_back(cell);
  }
  std::stable_sort(chosen.begin(), chosen.end(),
                   [](const CellRow& a, const CellRow& b) { return a.energy_kept > b.energy_kept; });
  return chosen;
}

/// Whether a projection removes half of the added harmfulness and keeps nine tenths of the added utility.
Verdict separates(const CellRow& cell, const ModelScores& scores) {
  const double harm = scores.harmfulness(Role::contaminated), safe = scores.harmfulness(Role::aligned);
  const double best = scores.utility(Role::contaminated), start = scores.utility(Role::aligned);
  const Verdict safer = at_most(cell.harmfulness_interval, safe + 0.5 * (harm - safe));
  const Verdict useful = at_least(cell.utility_interval, start + 0.9 * (best - start));
  if (safer == Verdict::no || useful == Verdict::no) return Verdict::no;
  return safer == Verdict::yes && useful == Verdict::yes ? Verdict::yes : Verdict::unsupported;
}

const CellRow* first_with(const std::vector<CellRow>& cells, const ModelScores& scores, Verdict verdict) {
  const auto found =
      std::find_if(cells.begin(), cells.end(), [&](const CellRow& cell) { return separates(cell, scores) == verdict; });
  return found == cells.end() ? nullptr : &*found;
}

Finding no_safe_filter(const ProjectionTables& tables, const ModelScores& scores, const Thresholds& limits) {
  Finding finding{Verdict::unmeasured, "Removing the alignment's directions does not make a contaminated update safe",
                  ""};
  const double harm = scores.harmfulness(Role::contaminated), safe = scores.harmfulness(Role::aligned);
  const std::vector<CellRow> orthogonal = orthogonal_cells(tables.cells);
  if (orthogonal.empty() || !std::isfinite(harm) || !std::isfinite(safe)) {
    finding.numbers = "Evaluated projections of a contaminated model orthogonal to the alignment would be needed.";
    return finding;
  }
  const CellRow& most = orthogonal.front();
  const CellRow& least = orthogonal.back();
  finding.numbers = fmt::format(
      "Unprojected, the contaminated model has harmfulness {} and utility {}. Orthogonal to the top directions of the "
      "alignment, harmfulness is {} ({}) with {} of the energy kept and {} ({}) with {}; utility goes from {} to {}.",
      format_fixed(harm, 2), format_fixed(scores.utility(Role::contaminated), 2), format_fixed(most.harmfulness, 2),
      interval_text(most.harmfulness_interval, 2), format_fixed(most.energy_kept, 2),
      format_fixed(least.harmfulness, 2), interval_text(least.harmfulness_interval, 2),
      format_fixed(least.energy_kept, 2), format_fixed(most.utility, 2), format_fixed(least.utility, 2));
  const ComparisonRow excess = compared_roles(tables.comparisons, false, Role::contaminated, Role::aligned);
  if (harm - safe < limits.contaminated_excess || at_least(excess, 0.0) != Verdict::yes) {
    finding.numbers += fmt::format(" It is hardly more harmful than the aligned model ({}), so this cannot tell.",
                                   format_fixed(safe, 2));
    return finding;
  }
  const CellRow* found = first_with(orthogonal, scores, Verdict::yes);
  const CellRow* open = first_with(orthogonal, scores, Verdict::unsupported);
  finding.verdict = found != nullptr ? Verdict::no : open != nullptr ? Verdict::unsupported : Verdict::yes;
  if (found != nullptr) {
    finding.numbers += fmt::format(
        " With {} kept, half of the added harmfulness is gone and nine tenths of the added utility stays: this run "
        "does "
        "separate them.",
        format_fixed(found->energy_kept, 2));
  } else if (open != nullptr) {
    finding.numbers +=
        unsupported_text(fmt::format("with {} kept, the intervals (harmfulness {}, utility {}) allow that half of the "
                                     "added harmfulness is gone while "
                                     "nine tenths of the added utility stays",
                                     format_fixed(open->energy_kept, 2), interval_text(open->harmfulness_interval, 2),
                                     interval_text(open->utility_interval, 2)));
  } else if (least.harmfulness_interval.low > harm) {
    finding.numbers += " It rises as more is removed: what is left no longer helps, and still disturbs the refusal.";
  }
  return finding;
}

/// Range of the energy kept, for tables without scores.
Finding energy_fact(const std::vector<ProjectionRow>& rows, bool scored) {
  std::vector<double> energies;
  for (const ProjectionRow& row : rows) {
    if (is_projected(row)) energies.push_back(row.energy_kept);
  }
  return {Verdict::fact, fmt::format("{} projected models", format_count(static_cast<int64_t>(energies.size()))),
          fmt::format("They keep from {} to {} of their updates' energy.{}{}", format_fixed(quantile(energies, 0), 3),
                      format_fixed(quantile(energies, 1), 3), scored ? "" : " None of them was evaluated.",
                      energy_aside(rows))};
}

}  // namespace

std::vector<Finding> projection_findings(const ProjectionTables& all, const Thresholds& limits) {
  if (all.rows.empty()) return {};
  const bool scored = std::any_of(all.rows.begin(), all.rows.end(), [](const ProjectionRow& row) {
    return std::isfinite(row.utility) || std::isfinite(row.harmfulness);
  });
  ProjectionTables tables = all;
  const auto sided = [](const std::string& basis) { return basis.find('/') != std::string::npos; };
  std::erase_if(tables.rows, [&](const ProjectionRow& row) { return sided(row.basis); });
  std::erase_if(tables.cells, [&](const CellRow& row) { return sided(row.basis); });
  std::erase_if(tables.comparisons, [&](const ComparisonRow& row) {
    const bool of_bases = row.family == "bases" || row.family == "equal_energy";
    return sided(row.basis) || (of_bases && sided(row.against));
  });
  const bool others_alone =
      tables.rows.size() < all.rows.size() && std::none_of(tables.rows.begin(), tables.rows.end(), is_projected);
  if (!scored || others_alone) return {energy_fact(all.rows, scored)};
  const ModelScores scores = unprojected_scores(tables.rows);
  return {harmfulness_claim(scores, tables.comparisons, limits), utility_claim(scores, tables.comparisons, limits),
          falls_together(tables, scores, limits), energy_decides(tables, scores, limits),
          no_safe_filter(tables, scores, limits)};
}

}  // namespace subspect::experiments::report
