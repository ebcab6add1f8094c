// What was found, as sentences made from the numbers: for each claim of the paper whether this run shows it.
//
// Source of the claims: "Safety Subspaces are Not Linearly Distinct: A Fine-Tuning Case Study" (arXiv 2505.14185).
#pragma once

#include <string>
#include <vector>

#include "experiments/report/rows.h"
#include "experiments/report/run_files.h"

namespace subspect::experiments::report {

enum class Verdict {
  yes,          ///< the numbers show the claim
  partly,       ///< a part of them does
  no,           ///< they do not
  unsupported,  ///< they were measured, and their intervals allow both
  unmeasured,   ///< they were not measured
  fact          ///< no claim of the paper, only what happened
};

/// A claim, whether the numbers bear it out, and the numbers in a sentence or two. Plain text, not escaped.
struct Finding {
  Verdict verdict = Verdict::fact;
  std::string claim;
  std::string numbers;
};

/// Thresholds behind the verdicts, so that the page can say them. A verdict is given where the whole interval of 95 %
/// is on one side of the threshold; otherwise the claim is unsupported.
struct Thresholds {
  double harmfulness_rise = 1.0;     ///< points, harmful over aligned
  double utility_rise = 0.05;        ///< useful over aligned
  double concordance = 0.8;          ///< share of pairs in which more energy kept means the higher score
  double basis_gap = 0.15;           ///< mean gap between bases at equal energy, as a part of the score's range
  double contaminated_excess = 0.2;  ///< points over aligned below which "contaminated" says nothing
  double overlap_excess = 0.0;       ///< MSO over its random baseline
  double alignment_margin = 0.05;    ///< MSO, harmful/alignment over useful/alignment
  double control_share = 0.5;        ///< of the excess of the split-half control over chance
};

/// The claims are about left subspaces: of a projection on other sides alone only what happened.
std::vector<Finding> projection_findings(const ProjectionTables& tables, const Thresholds& limits = {});
std::vector<Finding> overlap_findings(const std::vector<OverlapRow>& rows, const Thresholds& limits = {});
std::vector<Finding> activation_findings(const std::vector<ActivationRow>& rows, const std::vector<ProbeRow>& probes,
                                         const Thresholds& limits = {});
/// Of an evaluation: the two claims about fine-tuning where the models allow them, else the scores as facts.
std::vector<Finding> score_findings(const std::vector<ScoreRow>& rows, const std::vector<ComparisonRow>& comparisons,
                                    const Thresholds& limits = {});
/// Of models formed in memory: the range of each score, and how many differences from the aligned model stand; of an
/// ablation, for each model and score, the groups that do most.
std::vector<Finding> formed_findings(const CsvTable& table, const std::vector<ComparisonRow>& comparisons);
/// Of a steering: for each intervention how the scores change, as facts.
std::vector<Finding> steering_findings(const std::vector<SteeringCell>& cells);
std::vector<Finding> training_findings(const RunFiles& run);

/// Everything found in a run; in a study, the claims of its stages, each made once (a projection's scores go before
/// an evaluation's), without the facts of its fine-tunings.
std::vector<Finding> run_findings(const RunFiles& run);

/// One sentence over them: how many of the claims hold.
std::string headline(const std::vector<Finding>& findings);

}  // namespace subspect::experiments::report
