// Fine-tuning (and training from random weights) of all parameters of a model on prompts and responses, or on text.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "experiments/data/mixture.h"
#include "experiments/experiment.h"
#include "model/hub.h"
#include "model/training_memory.h"
#include "runtime/dtype.h"
#include "runtime/optim/schedule.h"

namespace subspect::runtime::optim {
class Optimizer;
}

namespace subspect::experiments {

/// What is trained: a model that exists, or random weights of a configuration.
struct TrainedModelConfig {
  ModelPath path;
  InputPath config;
  ModelPath tokenizer;
  std::string init = "random";

  ModelPath& shorthand() { return path; }
  bool uses_shorthand() const { return config.empty(); }
  void visit(Fields& f);

  model::ModelSource source() const;
};

struct OptimizerConfig {
  std::string name = "adamw";
  double lr = 1e-5;
  std::array<double, 2> betas = {0.9, 0.999};
  double eps = 1e-8;
  double momentum = 0;
  double weight_decay = 0;
  std::string state = "float32";
  bool offload = false;

  void visit(Fields& f);
  /// Values kept per parameter.
  int64_t moments() const { return name == "adamw" ? 2 : (momentum != 0 ? 1 : 0); }
};

struct ScheduleConfig {
  runtime::optim::ScheduleKind kind = runtime::optim::ScheduleKind::cosine;
  double warmup_ratio = 0.02;
  double final_ratio = 0;

  void visit(Fields& f);
  runtime::optim::Schedule schedule() const;
};

struct PrecisionConfig {
  std::string compute = "auto";
  std::string master = "float32";
  bool stochastic_rounding = false;
  std::string save = "auto";

  void visit(Fields& f);
  /// Of weights and activations on `device`.
  runtime::DType compute_dtype(runtime::Device device) const;
  /// Whether a float32 copy of bfloat16 weights is updated in their stead.
  bool master_weights(runtime::Device device) const;
  /// Of the model that is written; @param checkpoint the dtype of the model that was read.
  runtime::DType save_dtype(runtime::DType checkpoint) const;
};

/// What the backward pass makes again; automatic: the least that fits the device's memory.
enum class RecomputeMode : uint8_t { automatic, none, op, block };

/// How ranks share a run; docs/distributed.md.
struct DistributedConfig {
  int64_t shares = 0;
  double time_limit = 600;

  void visit(Fields& f);
  /// Shares for that many ranks. Throws UsageError where the ranks cannot have equally many, a power of two.
  int shares_of(int ranks) const;
};

/// What one rank may use.
struct MemoryBudget {
  runtime::Device device;
  int ranks = 1;
  int64_t memory_bytes = 0;  ///< for the allocator of its device
};

struct FinetuneConfig {
  TrainedModelConfig model;
  std::vector<DataSource> data;
  Duplicates duplicates = Duplicates::keep;
  std::string prompt_format = "alpaca";
  std::string prompt_template;
  std::vector<std::string> deviations;
  int64_t max_seq_length = 512;
  bool shuffle = true;
  bool packing = true;
  double epochs = 1;
  int64_t max_steps = 0;
  int64_t global_batch = 32;
  int64_t micro_batch_tokens = 8192;
  RecomputeMode recompute = RecomputeMode::automatic;
  OptimizerConfig optimizer;
  ScheduleConfig schedule;
  double max_grad_norm = 1.0;
  PrecisionConfig precision;
  DistributedConfig distributed;
  int64_t seed = 42;
  int64_t checkpoint_every = 200;

  void visit(Fields& f);
  int64_t total_steps(int64_t steps_per_epoch) const;
  /// The recomputation of `automatic` is chosen for the budget.
  model::TrainingMemory plan_memory(const model::DecoderConfig& decoder, const MemoryBudget& budget) const;
  MixtureOptions mixture_options() const;
};

struct SequenceOptions;

/// How the examples of a run become sequences of a model.
SequenceOptions sequence_options(const FinetuneConfig& config, const model::DecoderConfig& decoder, int threads);

/// Writes metrics.jsonl (one row per optimizer step) and model/. Checkpoints go to state/; a run that was killed at any
/// moment and is started again ends with the same weights, bit by bit.
class Finetune final : public Experiment {
 public:
  FinetuneConfig config;

  std::string_view kind() const override { return "finetune"; }
  bool uses_ranks() const override { return true; }
  void visit(Fields& f) override { config.visit(f); }
  Plan plan(const PlanContext& context) const override;
  void run(RunContext& context) override;
};

}  // namespace subspect::experiments
