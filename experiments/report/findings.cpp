// Findings that are shared by the experiments: scores after fine-tuning, training, and their summary.
#include "experiments/report/findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "experiments/report/markup.h"
#include "experiments/report/score_claims.h"
#include "experiments/report/support.h"
#include "experiments/statistics/summary.h"

namespace subspect::experiments::report {

using statistics::mean;
using statistics::quantile;

namespace {

/// The scores of base, aligned and fine-tuned models in an evaluation.
ModelScores scores_of(const std::vector<ScoreRow>& rows) {
  ModelScores scores;
  for (const ScoreRow& row : rows) {
    if (is_utility(row.metric)) scores.add_utility(row.model, row.value);
    if (is_harmfulness(row.metric)) scores.add_harmfulness(row.model, row.value);
  }
  return scores;
}

/// Findings of one run that has no stages.
std::vector<Finding> single_findings(const RunFiles& run) {
  if (run.kind == "finetune") return training_findings(run);
  if (!run.results) return {};
  if (run.kind == "projection") return projection_findings(projection_tables(run));
  if (run.kind == "overlap") return overlap_findings(overlap_rows(*run.results));
  if (run.kind == "activations") {
    const CsvTable* probes = run.other("probes.csv");
    return activation_findings(activation_rows(*run.results), probes ? probe_rows(*probes) : std::vector<ProbeRow>{});
  }
  if (run.kind == "steering") return steering_findings(steering_cells(*run.results));
  const CsvTable* table = run.other("comparisons.csv");
  const auto comparisons = table ? comparison_rows(*table) : std::vector<ComparisonRow>{};
  if (run.kind == "evaluate") return score_findings(score_rows(*run.results), comparisons);
  return is_formed(run.kind) ? formed_findings(*run.results, comparisons) : std::vector<Finding>{};
}

bool is_measured(const std::vector<Finding>& findings, const std::string& claim) {
  return std::any_of(findings.begin(), findings.end(),
                     [&](const Finding& each) { return each.claim == claim && each.verdict != Verdict::unmeasured; });
}

/// Leaves out what could not be measured where another stage did measure it, and all but one of such a claim.
std::vector<Finding> without_superseded(const std::vector<Finding>& findings) {
  std::vector<Finding> kept;
  for (const Finding& finding : findings) {
    const bool repeated =
        std::any_of(kept.begin(), kept.end(), [&](const Finding& f) { return f.claim == finding.claim; });
    const bool drop = finding.verdict == Verdict::unmeasured && (repeated || is_measured(findings, finding.claim));
    if (!drop) kept.push_back(finding);
  }
  return kept;
}

std::vector<Finding> study_findings(const RunFiles& run) {
  std::vector<Finding> findings;
  for (const std::string kind : {"projection", "evaluate", "overlap", "activations"}) {
    std::vector<std::pair<std::string, std::vector<Finding>>> stages;  // those that bear on a claim
    for (const RunFiles& stage : run.stages) {
      if (stage.kind != kind) continue;
      std::vector<Finding> claims = single_findings(stage);
      std::erase_if(claims, [](const Finding& finding) { return finding.verdict == Verdict::fact; });
      if (!claims.empty()) stages.emplace_back(stage.name, std::move(claims));
    }
    const std::vector<Finding> before = findings;
    for (auto& [name, claims] : stages) {
      for (Finding& finding : claims) {
        // A projection's table has the evaluated models as rows: the same thing is not said twice.
        if (kind == "evaluate" && is_measured(before, finding.claim)) continue;
        if (stages.size() > 1) finding.numbers = fmt::format("{}: {}", name, finding.numbers);
        findings.push_back(std::move(finding));
      }
    }
  }
  return without_superseded(findings);
}

double last_finite(const std::vector<double>& values) {
  const auto last = std::find_if(values.rbegin(), values.rend(), [](double v) { return std::isfinite(v); });
  return last == values.rend() ? std::nan("") : *last;
}

double first_finite(const std::vector<double>& values) {
  const auto first = std::find_if(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
  return first == values.end() ? std::nan("") : *first;
}

/// "1 234 567 target tokens in 3 min 20 s", as far as the metrics say.
std::string effort(const Metrics& metrics) {
  std::string text;
  if (const auto* tokens = metrics.find("tokens"); tokens && std::isfinite(last_finite(*tokens))) {
    text += fmt::format(" {} tokens were seen", format_count(std::llround(last_finite(*tokens))));
  }
  if (const auto* seconds = metrics.find("seconds"); seconds && std::isfinite(last_finite(*seconds))) {
    text += fmt::format("{} {}", text.empty() ? " It ran" : " in", format_duration(last_finite(*seconds)));
  }
  if (const auto* peak = metrics.find("peak_bytes"); peak && std::isfinite(quantile(*peak, 1))) {
    text += fmt::format("{} {:.2f} GiB of memory at the peak", text.empty() ? " It took" : ", with",
                        quantile(*peak, 1) / (1024.0 * 1024.0 * 1024.0));
  }
  return text.empty() ? "" : text + ".";
}

}  // namespace

std::vector<Finding> score_findings(const std::vector<ScoreRow>& rows, const std::vector<ComparisonRow>& comparisons,
                                    const Thresholds& limits) {
  const ModelScores scores = scores_of(rows);
  std::vector<Finding> findings;
  if (scores.has(Role::aligned) && scores.has(Role::harmful))
    findings.push_back(harmfulness_claim(scores, comparisons, limits));
  if (scores.has(Role::aligned) && scores.has(Role::useful))
    findings.push_back(utility_claim(scores, comparisons, limits));
  if (!findings.empty()) return findings;
  for (const ScoreRow& row : rows) {
    if (findings.size() == 8) break;
    Finding fact{Verdict::fact, fmt::format("{}, {}", row.model, row.task),
                 fmt::format("{} is {}", row.metric, format_number(row.value))};
    if (is_known(row.interval)) {
      fact.numbers += fmt::format(" ({})", interval_text(row.interval, 3));
    } else if (std::isfinite(row.standard_error))
      fact.numbers += fmt::format(" ± {}", format_number(row.standard_error));
    if (std::isfinite(row.count))
      fact.numbers += fmt::format(" over {} samples", format_count(std::llround(row.count)));
    fact.numbers += ".";
    findings.push_back(std::move(fact));
  }
  return findings;
}

std::vector<Finding> training_findings(const RunFiles& run) {
  const auto* loss = run.metrics.find("loss");
  if (loss == nullptr || !std::isfinite(first_finite(*loss))) return {};
  const size_t tenth = std::max<size_t>(1, loss->size() / 10);
  const double first = mean({loss->begin(), loss->begin() + static_cast<std::ptrdiff_t>(tenth)});
  const double last = mean({loss->end() - static_cast<std::ptrdiff_t>(tenth), loss->end()});
  const bool fell = last < first;
  Finding finding{Verdict::fact, fell ? "The loss fell" : "The loss did not fall", ""};
  finding.numbers =
      fmt::format("From {} over the first tenth of {} optimizer steps to {} over the last.{}", format_fixed(first, 3),
                  format_count(run.metrics.rows()), format_fixed(last, 3), effort(run.metrics));
  return {finding};
}

std::vector<Finding> run_findings(const RunFiles& run) {
  return run.kind == "study" ? study_findings(run) : single_findings(run);
}

std::string headline(const std::vector<Finding>& findings) {
  const auto count = [&](Verdict verdict) {
    return std::count_if(findings.begin(), findings.end(), [&](const Finding& f) { return f.verdict == verdict; });
  };
  const auto yes = count(Verdict::yes), partly = count(Verdict::partly), no = count(Verdict::no);
  const auto unsupported = count(Verdict::unsupported), unmeasured = count(Verdict::unmeasured);
  const auto all = yes + partly + no + unsupported + unmeasured;
  if (findings.empty()) return "There are no numbers yet.";
  if (all == 0) return "";
  if (yes == all) {
    const std::string subject = all == 1 ? "The one claim of the paper that was put to the test holds"
                                : all == 2
                                    ? "Both claims of the paper that were put to the test hold"
                                    : fmt::format("All {} claims of the paper that were put to the test hold", all);
    return subject + " in this run.";
  }
  std::string text = fmt::format("Of {} {} of the paper, ", all, all == 1 ? "claim" : "claims");
  std::vector<std::string> parts;
  if (yes > 0) parts.push_back(fmt::format("{} {}", yes, yes == 1 ? "holds" : "hold"));
  if (partly > 0) parts.push_back(fmt::format("{} {} in part", partly, partly == 1 ? "holds" : "hold"));
  if (no > 0) parts.push_back(fmt::format("{} {} not hold", no, no == 1 ? "does" : "do"));
  if (unsupported > 0) parts.push_back(fmt::format("{} cannot be told from these data", unsupported));
  if (unmeasured > 0) parts.push_back(fmt::format("{} {} open", unmeasured, unmeasured == 1 ? "stays" : "stay"));
  for (size_t i = 0; i < parts.size(); ++i) {
    text += (i == 0 ? "" : i + 1 == parts.size() ? " and " : ", ") + parts[i];
  }
  return text + ".";
}

}  // namespace subspect::experiments::report
