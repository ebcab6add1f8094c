// `kind: ablation`: which tensors carry what a fine-tuned model does. The update D = F - A restricted to a group of
// tensors (a decoder layer, a kind of matrix, or those of given names), and the update without it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/experiment.h"
#include "experiments/subspace/formed_models.h"

namespace subspect::experiments {

class Ablation final : public Experiment {
 public:
  std::string_view kind() const override { return "ablation"; }
  void visit(Fields& f) override;
  Plan plan(const PlanContext& context) const override;
  void run(RunContext& context) override;

 private:
  /// Tensors that are taken or left out together.
  struct Group {
    std::string name;
    std::vector<std::string> tensors;
  };
  /// The checkpoints of a run, their groups, and the share of each tensor in each update.
  struct Inputs;

  Named<ModelPath> models() const;
  std::vector<Group> groups(const subspace::WeightSource& source) const;
  subspace::FormedModel plain(const Inputs& inputs, size_t checkpoint) const;
  subspace::FormedModel restricted(const Inputs& inputs, size_t finetuned, const Group& group,
                                   const std::string& mode) const;

  ModelPath aligned_;
  Named<ModelPath> finetuned_;
  std::string groups_ = "layers";
  Named<std::vector<std::string>> globs_;
  std::vector<std::string> modes_ = {"only", "without"};
  subspace::FormedModelFields formed_;
};

}  // namespace subspect::experiments
