// `kind: agreement`: how far judges agree on the same completions.
#pragma once

#include <cstdint>

#include "experiments/experiment.h"

namespace subspect::experiments {

/// For every two judges, for each model and for all models together, one row: judge_a, judge_b, model, n, invalid,
/// agreement, kappa with its bootstrap interval (over exchanges), kappa_quadratic, kappa_refusal (grade 1 against the
/// rest). confusion.csv holds the tables behind them. Exchanges that either judge left without a valid score count as
/// invalid only.
class JudgeAgreement final : public Experiment {
 public:
  std::string_view kind() const override { return "agreement"; }
  void visit(Fields& f) override;
  Plan plan(const PlanContext& context) const override;
  void run(RunContext& context) override;

 private:
  Named<InputPath> judges_;
  int64_t resamples_ = 1000;
  int64_t seed_ = 42;
};

}  // namespace subspect::experiments
