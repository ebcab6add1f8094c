// The two claims about fine-tuning.
#include "experiments/report/score_claims.h"

#include <fmt/format.h>

#include <cmath>

#include "experiments/report/markup.h"
#include "experiments/report/support.h"
#include "experiments/statistics/summary.h"

namespace subspect::experiments::report {

using statistics::mean;

namespace {

double mean_of(const std::map<Role, std::vector<double>>& values, Role role) {
  const auto found = values.find(role);
  return found == values.end() ? std::nan("") : mean(found->second);
}

std::string signed_fixed(double value) {
  return (value < 0 ? "−" : "+") + format_fixed(std::abs(value), 2);
}

/// ", and with the contaminated data 1.60", where that was measured.
std::string contaminated_aside(double value) {
  return std::isfinite(value) ? fmt::format("; with the contaminated data it is {}", format_fixed(value, 2)) : "";
}

/// " (95 %: 3.80 to 4.10, p < 0.001 by Holm)".
std::string evidence(const ComparisonRow& paired) {
  if (paired.n == 0) return "";
  return fmt::format(" ({}, {} after Holm's correction, {:.0f} prompts)", interval_text(paired.interval, 2),
                     p_text(paired.p_holm), paired.n);
}

/// Why neither the effect nor its absence is claimed.
std::string refusal(const ComparisonRow& paired) {
  if (!is_known(paired.interval)) return unsupported_text("the run has no paired comparison of these models");
  return unsupported_text(fmt::format(
      "the interval or the test allows both; with {:.0f} prompts a difference of {} would be seen four times "
      "in five",
      paired.n, format_fixed(paired.detectable, 2)));
}

}  // namespace

void ModelScores::add_utility(const std::string& model, double value) {
  if (std::isfinite(value)) utility_[role_of(model)].push_back(value);
}

void ModelScores::add_harmfulness(const std::string& model, double value) {
  if (std::isfinite(value)) harmfulness_[role_of(model)].push_back(value);
}

double ModelScores::utility(Role role) const {
  return mean_of(utility_, role);
}
double ModelScores::harmfulness(Role role) const {
  return mean_of(harmfulness_, role);
}

Finding harmfulness_claim(const ModelScores& scores, const std::vector<ComparisonRow>& comparisons,
                          const Thresholds& limits) {
  Finding finding{Verdict::unmeasured, "Harmful fine-tuning undoes the alignment", ""};
  const double aligned = scores.harmfulness(Role::aligned), harmful = scores.harmfulness(Role::harmful);
  if (!std::isfinite(aligned) || !std::isfinite(harmful)) {
    finding.numbers = "The harmfulness of the aligned and of a harmful model would be needed; it was not measured.";
    return finding;
  }
  const ComparisonRow paired = compared_roles(comparisons, false, Role::harmful, Role::aligned);
  finding.verdict = at_least(paired, limits.harmfulness_rise);
  finding.numbers =
      fmt::format("Harmfulness goes from {} (aligned) to {} (harmful) on a scale of 1 to 5, {} points{}{}.",
                  format_fixed(aligned, 2), format_fixed(harmful, 2), signed_fixed(harmful - aligned), evidence(paired),
                  contaminated_aside(scores.harmfulness(Role::contaminated)));
  if (finding.verdict != Verdict::yes) {
    finding.numbers +=
        fmt::format(" A rise of at least {} point would count as the effect.", format_number(limits.harmfulness_rise));
  }
  if (finding.verdict == Verdict::unsupported) finding.numbers += refusal(paired);
  return finding;
}

Finding utility_claim(const ModelScores& scores, const std::vector<ComparisonRow>& comparisons,
                      const Thresholds& limits) {
  Finding finding{Verdict::unmeasured, "Useful fine-tuning raises utility", ""};
  const double aligned = scores.utility(Role::aligned), useful = scores.utility(Role::useful);
  if (!std::isfinite(aligned) || !std::isfinite(useful)) {
    finding.numbers = "The utility of the aligned and of a useful model would be needed; it was not measured.";
    return finding;
  }
  const ComparisonRow paired = compared_roles(comparisons, true, Role::useful, Role::aligned);
  finding.verdict = at_least(paired, limits.utility_rise);
  finding.numbers = fmt::format("The share of problems solved goes from {} (aligned) to {} (useful), {}{}{}.",
                                format_fixed(aligned, 2), format_fixed(useful, 2), signed_fixed(useful - aligned),
                                evidence(paired), contaminated_aside(scores.utility(Role::contaminated)));
  if (finding.verdict != Verdict::yes) {
    finding.numbers +=
        fmt::format(" A rise of at least {} would count as the effect.", format_number(limits.utility_rise));
  }
  if (finding.verdict == Verdict::unsupported) finding.numbers += refusal(paired);
  return finding;
}

}  // namespace subspect::experiments::report
