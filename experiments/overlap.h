// `kind: overlap`: how much the subspaces of two weight updates share, beyond chance, per tensor or decoder layer.
// Method: "Safety Subspaces are Not Linearly Distinct" (arXiv 2505.14185), mode subspace overlap of updates.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/experiment.h"
#include "experiments/subspace/decomposition.h"
#include "experiments/subspace/update_groups.h"

namespace subspect::experiments {

class Overlap final : public Experiment {
 public:
  std::string_view kind() const override { return "overlap"; }
  void visit(Fields& f) override;
  Plan plan(const PlanContext& context) const override;
  void run(RunContext& context) override;

 private:
  /// The reference, then the models.
  Named<ModelPath> checkpoints() const;
  /// Tensors, then layers, as far as asked for.
  std::vector<subspace::Granularity> compared_granularity() const;

  ModelPath reference_;
  Named<ModelPath> models_;
  std::vector<std::array<std::string, 2>> pairs_;
  std::vector<std::string> granularity_ = {"tensor", "layer"};
  std::vector<std::string> sides_ = {"left"};
  std::vector<double> energies_ = {0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99};
  std::vector<std::string> tensors_ = {"*"};
  bool principal_angles_ = false;
  std::vector<double> angle_energies_;
  int64_t spectrum_points_ = 64;
  int64_t baseline_draws_ = 0;
  int64_t seed_ = 42;
  subspace::DecompositionFields decomposition_;
  std::vector<std::string> deviations_;
};

}  // namespace subspect::experiments
