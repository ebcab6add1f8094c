// The registry of experiments.
#include "experiments/registry.h"

#include <fmt/format.h>

#include "experiments/ablation.h"
#include "experiments/activations.h"
#include "experiments/arithmetic.h"
#include "experiments/defence.h"
#include "experiments/evaluate.h"
#include "experiments/finetune.h"
#include "experiments/judge_agreement.h"
#include "experiments/make_data.h"
#include "experiments/overlap.h"
#include "experiments/projection.h"
#include "experiments/rejudge.h"
#include "experiments/steering.h"
#include "experiments/study.h"
#include "experiments/train_tokenizer.h"
#include "runtime/error.h"
#include "runtime/nearest.h"

namespace subspect::experiments {

namespace {

template <class E>
std::unique_ptr<Experiment> make() {
  return std::make_unique<E>();
}

}  // namespace

const std::vector<ExperimentInfo>& experiment_kinds() {
  static const std::vector<ExperimentInfo> kinds = {
      {"finetune", "train all weights of a model on prompts and responses, or on text", make<Finetune>},
      {"projection", "keep or remove the part of weight updates that lies in the subspace of the alignment",
       make<Projection>},
      {"arithmetic", "add weighted sums of weight updates to a model: a map of utility and harmfulness",
       make<Arithmetic>},
      {"ablation", "restrict weight updates to groups of tensors, or leave them out: which carry what", make<Ablation>},
      {"defence", "project updates on the alignment (SafeLoRA), or extrapolate along it before fine-tuning (LoX)",
       make<Defence>},
      {"overlap", "how much the subspaces of weight updates share, beyond chance", make<Overlap>},
      {"activations", "how much the subspaces of hidden states of two sets of prompts share", make<Activations>},
      {"steering", "ablate or add the direction between harmful and harmless prompts while a model answers",
       make<Steering>},
      {"evaluate", "utility, harmfulness and perplexity of models", make<Evaluate>},
      {"judge", "judge the completions of an earlier evaluation again, without generating", make<Rejudge>},
      {"agreement", "how far judges agree on the same completions", make<JudgeAgreement>},
      {"data", "write corpora that the program generates from a seed", make<MakeData>},
      {"tokenizer", "learn a byte-level BPE tokenizer", make<TrainTokenizer>},
      {"study", "several experiments in one graph of stages, each run once", make<Study>},
  };
  return kinds;
}

std::vector<std::string> experiment_names() {
  std::vector<std::string> names;
  for (const ExperimentInfo& info : experiment_kinds()) names.emplace_back(info.kind);
  return names;
}

std::unique_ptr<Experiment> make_experiment(std::string_view kind, const std::string& where) {
  std::string all;
  for (const ExperimentInfo& info : experiment_kinds()) {
    if (info.kind == kind) return info.make();
    all += (all.empty() ? "" : ", ") + std::string(info.kind);
  }
  const std::string near = runtime::nearest(kind, experiment_names());
  throw runtime::UsageError(
      fmt::format("unknown kind of experiment '{}'", kind), where,
      near.empty() ? fmt::format("use one of {}", all) : fmt::format("did you mean '{}'? There are {}", near, all));
}

}  // namespace subspect::experiments
