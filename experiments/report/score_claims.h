// The scores of unprojected models, and the two claims about what fine-tuning does to them.
#pragma once

#include <map>
#include <string>

#include "experiments/report/findings.h"

namespace subspect::experiments::report {

/// Utility and harmfulness by role, the mean over models of the same role; NaN where not measured.
class ModelScores {
 public:
  void add_utility(const std::string& model, double value);
  void add_harmfulness(const std::string& model, double value);
  bool has(Role role) const { return utility_.count(role) > 0 || harmfulness_.count(role) > 0; }
  double utility(Role role) const;
  double harmfulness(Role role) const;

 private:
  std::map<Role, std::vector<double>> utility_;
  std::map<Role, std::vector<double>> harmfulness_;
};

/// Harmful fine-tuning raises harmfulness by at least `limits.harmfulness_rise` points over the aligned model: all of
/// the interval of the paired difference among `comparisons`.
Finding harmfulness_claim(const ModelScores& scores, const std::vector<ComparisonRow>& comparisons,
                          const Thresholds& limits);

/// Useful fine-tuning raises utility by at least `limits.utility_rise` over the aligned model, likewise.
Finding utility_claim(const ModelScores& scores, const std::vector<ComparisonRow>& comparisons,
                      const Thresholds& limits);

}  // namespace subspect::experiments::report
