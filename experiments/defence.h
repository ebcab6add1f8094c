// `kind: defence`: defences against harmful fine-tuning that trust the directions of the alignment V = A - B, which is
// what the study puts in doubt. SafeLoRA projects finished updates on them (subspace/safelora.h); LoX moves the aligned
// model along them before it is fine-tuned (subspace/lox.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/experiment.h"
#include "experiments/subspace/decomposition.h"
#include "experiments/subspace/formed_models.h"

namespace subspect::experiments {

class Defence final : public Experiment {
 public:
  std::string_view kind() const override { return "defence"; }
  void visit(Fields& f) override;
  Plan plan(const PlanContext& context) const override;
  void run(RunContext& context) override;

 private:
  /// How the projected tensors of SafeLoRA are chosen: the word of the column `rule`, and the number.
  struct Choice {
    std::string rule;
    double value = 0;
  };

  bool extrapolates() const { return defence_ == "lox"; }
  Named<ModelPath> models() const;
  std::vector<Choice> choices() const;
  double tensor_flops(const runtime::Shape& shape) const;
  void run_safelora(RunContext& context) const;
  void run_lox(RunContext& context) const;

  std::string defence_ = "safelora";
  ModelPath base_;
  ModelPath aligned_;
  Named<ModelPath> finetuned_;
  std::vector<double> thresholds_ = {0.35};
  std::vector<int64_t> counts_;
  int64_t rank_ = 6;
  double alpha_ = 1.25;
  subspace::DecompositionFields decomposition_;
  std::vector<std::string> tensors_ = {"*"};
  subspace::FormedModelFields formed_;
};

}  // namespace subspect::experiments
