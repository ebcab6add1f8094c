// `kind: steering`: the direction between the states of harmful and harmless prompts is taken out of the residual
// stream, or put into it, while the model answers; random directions of the same length tell the effect from damage.
// Method: Arditi et al., "Refusal in Language Models Is Mediated by a Single Direction" (arXiv 2406.11717).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/activations.h"
#include "experiments/evaluate.h"
#include "experiments/experiment.h"

namespace subspect::experiments {

/// The keys of `kind: steering`.
struct SteeringConfig {
  struct Prompts {
    PromptSource harmful;
    PromptSource harmless;
    void visit(Fields& f);
  };

  ModelPath model;
  Prompts prompts;
  std::string prompt_format = "raw";
  std::string prompt_template;
  int64_t max_length = 512;
  int64_t batch_tokens = 4096;
  double held_out = 0.2;
  AllOr<std::vector<int64_t>> layers = {.all = true, .value = {}};
  bool ablate = true;
  std::vector<double> add = {1.0};
  int64_t random_draws = 3;
  std::vector<TaskConfig> evaluate;
  IntervalConfig intervals;
  int64_t seed = 42;

  void visit(Fields& f);
  /// The layers that directions are taken at. Throws UsageError for one that the decoder does not have.
  std::vector<int64_t> candidates(int64_t decoder_layers) const;
  /// How many of a set's prompts are held out: at least one, and at least one is not.
  int64_t held_out_of(int64_t count) const;
};

class Steering final : public Experiment {
 public:
  std::string_view kind() const override { return "steering"; }
  void visit(Fields& f) override { config_.visit(f); }
  Plan plan(const PlanContext& context) const override;
  void run(RunContext& context) override;

 private:
  SteeringConfig config_;
};

}  // namespace subspect::experiments
