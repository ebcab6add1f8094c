// `kind: judge`: judges the completions of an earlier evaluation again, by another judge or another question, without
// generating anything.
#pragma once

#include "experiments/evaluate.h"
#include "experiments/experiment.h"
#include "experiments/judge/judging.h"

namespace subspect::experiments {

/// Writes the rows of an evaluation (model,task,metric,value,stderr,n,low,high,interval) and samples.jsonl with the new
/// scores and reasons. Answers of judges that cost something are cached in state/judgements: the same run again asks
/// only what is missing.
class Rejudge final : public Experiment {
 public:
  std::string_view kind() const override { return "judge"; }
  void visit(Fields& f) override;
  Plan plan(const PlanContext& context) const override;
  void run(RunContext& context) override;

 private:
  InputPath samples_;
  JudgeConfig judge_;
  IntervalConfig intervals_;
};

}  // namespace subspect::experiments
