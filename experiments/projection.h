// `kind: projection`: fine-tuned updates D = F - A projected on, and off, the directions of alignment V = A - B and of
// random subspaces; what is left of their energy, and what the projected models do.
// Method: "Safety Subspaces are Not Linearly Distinct" (arXiv 2505.14185), projections of updates.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/experiment.h"
#include "experiments/subspace/decomposition.h"
#include "experiments/subspace/formed_models.h"

namespace subspect::experiments {

namespace subspace {
struct ProjectionSettings;
}

class Projection final : public Experiment {
 public:
  std::string_view kind() const override { return "projection"; }
  void visit(Fields& f) override;
  Plan plan(const PlanContext& context) const override;
  void run(RunContext& context) override;

 private:
  Named<ModelPath> models() const;
  subspace::ProjectionSettings settings() const;
  /// Adds what decompositions of tensors of these shapes take, and the models made of them.
  void add_costs(Plan& plan, const std::vector<runtime::Shape>& shapes, int64_t random_draws, int64_t cells) const;

  ModelPath base_;
  ModelPath aligned_;
  Named<ModelPath> finetuned_;
  std::vector<std::string> bases_ = {"top_k", "random_k", "random"};
  std::vector<std::string> modes_ = {"same", "orth"};
  std::vector<std::string> sides_ = {"left"};
  std::vector<double> fractions_ = {0.01, 0.25, 0.5, 0.75, 0.99};
  int64_t draws_ = 1;
  std::vector<std::string> tensors_ = {"*"};
  subspace::FormedModelFields formed_;
  std::string rounding_ = "checkpoint";
  subspace::DecompositionFields decomposition_;
  std::vector<std::string> deviations_;
  int64_t seed_ = 42;
};

}  // namespace subspect::experiments
