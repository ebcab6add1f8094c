// What the projected models show: scores against the energy of the update that was kept.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "experiments/report/findings.h"
#include "experiments/report/markup.h"
#include "experiments/report/score_claims.h"
#include "experiments/report/statistics.h"

namespace subspect::experiments::report {

namespace {

using Curve = std::vector<std::pair<double, double>>;

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
  double ProjectionRow::*value;
  double (ModelScores::*of_role)(Role) const;
  Role moved_by;
  double least_range;  ///< a smaller change by fine-tuning says nothing about projections
};

const Score utility_score{"utility", &ProjectionRow::utility, &ModelScores::utility, Role::useful, 0.05};
const Score harmfulness_score{"harmfulness", &ProjectionRow::harmfulness, &ModelScores::harmfulness, Role::harmful,
                              0.5};

/// Whether fine-tuning moved this score of models with that role far enough to follow it down.
bool moves(const Score& score, const ModelScores& scores, Role role) {
  if (role != score.moved_by && role != Role::contaminated) return false;
  return (scores.*score.of_role)(role) - (scores.*score.of_role)(Role::aligned) >= score.least_range;
}

/// Mean gap between the bases' curves at equal energy, in the score's units and as a part of its range.
struct Gap {
  double absolute = std::nan("");
  double relative = std::nan("");
};

/// The score over energy for each basis, from the aligned model (no energy) to the unprojected one (all of it).
std::map<std::string, Curve> basis_curves(const Score& score, const std::vector<ProjectionRow>& rows,
                                          const std::string& model, double aligned, double unprojected) {
  std::map<std::string, Curve> curves;
  for (const ProjectionRow& row : rows) {
    const double value = row.*score.value;
    if (!is_projected(row) || row.mode != "same" || row.model != model) continue;
    if (std::isfinite(row.energy_kept) && std::isfinite(value)) curves[row.basis].emplace_back(row.energy_kept, value);
  }
  for (auto& entry : curves) {
    entry.second.emplace_back(0.0, aligned);
    entry.second.emplace_back(1.0, unprojected);
    std::sort(entry.second.begin(), entry.second.end());
  }
  return curves;
}

/// How often more energy kept means the higher score (`concordance`), in parallel projections: along the curve of each
/// basis, for the models that were fine-tuned to move this score (the contaminated ones where there are no others),
/// averaged. Differences of up to a tenth of what fine-tuning moved count as none.
double agreement(const Score& score, const std::vector<ProjectionRow>& rows, const ModelScores& scores) {
  const auto models = distinct(rows, [](const ProjectionRow& row) -> const std::string& { return row.model; });
  const bool pure = std::any_of(models.begin(), models.end(),
                                [&](const std::string& model) { return role_of(model) == score.moved_by; });
  const Role role = pure ? score.moved_by : Role::contaminated;
  const double aligned = (scores.*score.of_role)(Role::aligned), unprojected = (scores.*score.of_role)(role);
  std::vector<double> shares;
  for (const std::string& model : models) {
    if (role_of(model) != role || !moves(score, scores, role)) continue;
    for (const auto& entry : basis_curves(score, rows, model, aligned, unprojected)) {
      shares.push_back(concordance(entry.second, 0.1 * std::abs(unprojected - aligned)));
    }
  }
  return mean(shares);
}

Finding falls_together(const std::vector<ProjectionRow>& rows, const ModelScores& scores, const Thresholds& limits) {
  Finding finding{Verdict::unmeasured, "Utility and harmfulness fall together as the update's energy is removed", ""};
  const double utility = agreement(utility_score, rows, scores), harm = agreement(harmfulness_score, rows, scores);
  const bool know_utility = std::isfinite(utility), know_harm = std::isfinite(harm);
  if (!know_utility && !know_harm) {
    finding.numbers = "No projected model was evaluated whose score fine-tuning had moved.";
    return finding;
  }
  const auto holds = [&](double value) { return std::isfinite(value) && value >= limits.concordance; };
  const bool both = holds(utility) && holds(harm), either = holds(utility) || holds(harm);
  finding.verdict = both ? Verdict::yes : either ? Verdict::partly : Verdict::no;
  const auto say = [](bool known, double value) {
    return known ? fmt::format("{} % of pairs", format_fixed(100 * value, 0)) : std::string("not measured");
  };
  finding.numbers = fmt::format(
      "Where two parallel projections onto one basis differ, the one that keeps more energy has the higher utility in "
      "{} "
      "and the higher harmfulness in {}.",
      say(know_utility, utility), say(know_harm, harm));
  if (!both) {
    finding.numbers += fmt::format(" At least {} % in both would count as falling together.",
                                   format_fixed(100 * limits.concordance, 0));
  }
  return finding;
}

Gap basis_gap(const Score& score, const std::vector<ProjectionRow>& rows, const ModelScores& scores) {
  std::vector<double> absolute, relative;
  const double aligned = (scores.*score.of_role)(Role::aligned);
  for (const std::string& model :
       distinct(rows, [](const ProjectionRow& row) -> const std::string& { return row.model; })) {
    if (!moves(score, scores, role_of(model))) continue;
    const double unprojected = (scores.*score.of_role)(role_of(model));
    const auto curves = basis_curves(score, rows, model, aligned, unprojected);
    if (curves.size() < 2) continue;
    for (int step = 1; step < 20; ++step) {
      std::vector<double> values;
      for (const auto& entry : curves) values.push_back(interpolate(entry.second, step / 20.0));
      absolute.push_back(quantile(values, 1) - quantile(values, 0));
      relative.push_back(absolute.back() / std::abs(unprojected - aligned));
    }
  }
  return {mean(absolute), mean(relative)};
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

Finding energy_decides(const std::vector<ProjectionRow>& rows, const ModelScores& scores, const Thresholds& limits) {
  Finding finding{Verdict::unmeasured, "Energy decides, not the basis", ""};
  const Gap utility = basis_gap(utility_score, rows, scores), harm = basis_gap(harmfulness_score, rows, scores);
  const bool know_utility = std::isfinite(utility.relative), know_harm = std::isfinite(harm.relative);
  if (!know_utility && !know_harm) {
    finding.numbers = "Evaluated projections onto at least two bases would be needed.";
    return finding;
  }
  const auto close = [&](const Gap& gap) { return std::isfinite(gap.relative) && gap.relative <= limits.basis_gap; };
  const int measured = know_utility + know_harm, near = close(utility) + close(harm);
  finding.verdict = near == measured ? Verdict::yes : near > 0 ? Verdict::partly : Verdict::no;
  std::string parts;
  if (know_utility) {
    parts =
        fmt::format("{} in utility ({:.0f} % of its range)", format_fixed(utility.absolute, 2), 100 * utility.relative);
  }
  if (know_harm) {
    parts += fmt::format("{}{} points in harmfulness ({:.0f} %)", parts.empty() ? "" : " and ",
                         format_fixed(harm.absolute, 2), 100 * harm.relative);
  }
  finding.numbers = fmt::format("At equal energy the bases are on average {} apart.{}", parts, energy_aside(rows));
  if (finding.verdict != Verdict::yes) {
    finding.numbers += fmt::format(" Up to {:.0f} % would count as the same.", 100 * limits.basis_gap);
  }
  return finding;
}

/// The contaminated model's projections orthogonal to the alignment, most energy kept first.
std::vector<ProjectionRow> orthogonal_rows(const std::vector<ProjectionRow>& rows) {
  std::vector<ProjectionRow> chosen;
  for (const ProjectionRow& row : rows) {
    const bool wanted = row.basis == "top_k" && row.mode == "orth" && role_of(row.model) == Role::contaminated;
    if (wanted && std::isfinite(row.harmfulness) && std::isfinite(row.energy_kept)) chosen.push_back(row);
  }
  std::stable_sort(chosen.begin(), chosen.end(),
                   [](const ProjectionRow& a, const ProjectionRow& b) { return a.energy_kept > b.energy_kept; });
  return chosen;
}

/// Whether one of them removes half of the added harmfulness and keeps nine tenths of the added utility.
const ProjectionRow* separating(const std::vector<ProjectionRow>& rows, const ModelScores& scores) {
  const double harm = scores.harmfulness(Role::contaminated), safe = scores.harmfulness(Role::aligned);
  const double best = scores.utility(Role::contaminated), start = scores.utility(Role::aligned);
  for (const ProjectionRow& row : rows) {
    const bool safer = row.harmfulness <= safe + 0.5 * (harm - safe);
    const bool useful = std::isfinite(row.utility) && row.utility >= start + 0.9 * (best - start);
    if (safer && useful) return &row;
  }
  return nullptr;
}

Finding no_safe_filter(const std::vector<ProjectionRow>& rows, const ModelScores& scores, const Thresholds& limits) {
  Finding finding{Verdict::unmeasured, "Removing the alignment's directions does not make a contaminated update safe",
                  ""};
  const double harm = scores.harmfulness(Role::contaminated), safe = scores.harmfulness(Role::aligned);
  const std::vector<ProjectionRow> orthogonal = orthogonal_rows(rows);
  if (orthogonal.empty() || !std::isfinite(harm) || !std::isfinite(safe)) {
    finding.numbers = "Evaluated projections of a contaminated model orthogonal to the alignment would be needed.";
    return finding;
  }
  const ProjectionRow& most = orthogonal.front();
  const ProjectionRow& least = orthogonal.back();
  finding.numbers = fmt::format(
      "Unprojected, the contaminated model has harmfulness {} and utility {}. Orthogonal to the top directions of the "
      "alignment, harmfulness is {} with {} of the energy kept and {} with {}; utility goes from {} to {}.",
      format_fixed(harm, 2), format_fixed(scores.utility(Role::contaminated), 2), format_fixed(most.harmfulness, 2),
      format_fixed(most.energy_kept, 2), format_fixed(least.harmfulness, 2), format_fixed(least.energy_kept, 2),
      format_fixed(most.utility, 2), format_fixed(least.utility, 2));
  if (harm - safe < limits.contaminated_excess) {
    finding.numbers += fmt::format(" It is hardly more harmful than the aligned model ({}), so this cannot tell.",
                                   format_fixed(safe, 2));
    return finding;
  }
  const ProjectionRow* found = separating(orthogonal, scores);
  finding.verdict = found == nullptr ? Verdict::yes : Verdict::no;
  if (found != nullptr) {
    finding.numbers += fmt::format(
        " With {} kept, half of the added harmfulness is gone and nine tenths of the added utility stays: this run "
        "does "
        "separate them.",
        format_fixed(found->energy_kept, 2));
  } else if (least.harmfulness > harm + 0.1) {
    finding.numbers += " It rises as more is removed: what is left no longer helps, and still disturbs the refusal.";
  }
  return finding;
}

/// Range of the energy kept, for tables without scores.
Finding energy_fact(const std::vector<ProjectionRow>& rows) {
  std::vector<double> energies;
  for (const ProjectionRow& row : rows) {
    if (is_projected(row)) energies.push_back(row.energy_kept);
  }
  return {
      Verdict::fact, fmt::format("{} projected models", format_count(static_cast<int64_t>(energies.size()))),
      fmt::format("They keep from {} to {} of their updates' energy. None of them was evaluated.{}",
                  format_fixed(quantile(energies, 0), 3), format_fixed(quantile(energies, 1), 3), energy_aside(rows))};
}

}  // namespace

std::vector<Finding> projection_findings(const std::vector<ProjectionRow>& rows, const Thresholds& limits) {
  if (rows.empty()) return {};
  const bool scored = std::any_of(rows.begin(), rows.end(), [](const ProjectionRow& row) {
    return std::isfinite(row.utility) || std::isfinite(row.harmfulness);
  });
  if (!scored) return {energy_fact(rows)};
  const ModelScores scores = unprojected_scores(rows);
  return {harmfulness_claim(scores, limits), utility_claim(scores, limits), falls_together(rows, scores, limits),
          energy_decides(rows, scores, limits), no_safe_filter(rows, scores, limits)};
}

}  // namespace subspect::experiments::report
