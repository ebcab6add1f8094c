// FormedModels: models that exist only in memory, one row of results.csv each: scored, saved where asked, compared.
// What the experiments that change weights (projection, arithmetic, ...) share of their configuration, plan and loop.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "experiments/evaluate.h"
#include "experiments/experiment.h"
#include "experiments/subspace/keyed_table.h"
#include "experiments/subspace/model_scorer.h"
#include "experiments/subspace/weights.h"
#include "model/checkpoint.h"

namespace subspect::experiments::subspace {

/// What is done with every model.
struct FormedModelFields {
  std::vector<TaskConfig> evaluate;
  IntervalConfig intervals;
  bool save_models = false;

  void visit(Fields& f) {
    visit_scores(f);
    visit_saving(f);
  }
  void visit_scores(Fields& f);
  void visit_saving(Fields& f);
  bool needs_weights() const { return !evaluate.empty() || save_models; }
};

/// Adds to a plan what `models` formed ones of the architecture of `like` take: memory, disk, steps. Checks the tasks.
void plan_formed_models(const PlanContext& context, const FormedModelFields& fields, const ModelPath& like,
                        int64_t models, Plan& plan);

/// Throws at the key `finetuned` unless its names are different, not empty, and none of `taken`.
void check_names(Fields& f, const Named<ModelPath>& finetuned, const std::vector<std::string>& taken);

/// Scores and saves the weights of one model after the other.
class ModelSink {
 public:
  /// @param tokenizers directory whose tokenizer serves models that have none of their own.
  ModelSink(RunContext& context, const FormedModelFields& fields, const std::filesystem::path& tokenizers);

  /// The columns that `take` fills.
  std::vector<std::string> columns() const;
  /// @param name of the model, also of its samples. @param origin the checkpoint whose config and tokenizer it has.
  /// @param folder below the run's that it is saved to; empty: it is not.
  NamedCells take(const std::string& name, const WeightSource& origin, const model::NamedTensors& weights,
                  const std::filesystem::path& folder);
  /// Null where nothing is evaluated.
  ModelScorer* scorer() { return scorer_.get(); }

 private:
  RunContext& context_;
  std::unique_ptr<ModelScorer> scorer_;
};

/// A model and its row.
struct FormedModel {
  std::string name;  ///< of samples and in comparisons; unlike every other's
  NamedCells key;    ///< the cells that identify the row
  NamedCells facts;  ///< further cells, before the scores
  const WeightSource* origin = nullptr;
  std::filesystem::path folder;                  ///< where it is saved below the run's folder; empty: nowhere
  std::function<model::NamedTensors()> weights;  ///< forms it
  /// The models that its scores are compared with, prompt by prompt: family of comparisons and name.
  std::vector<std::pair<std::string, std::string>> against = {};
};

/// A checkpoint as it is, without a key: compared with the one named "aligned" unless it is that. `source` outlives it.
FormedModel stored_model(const WeightSource& source);

class FormedModels {
 public:
  /// @param keys columns that identify a row. @param facts columns that follow; those of the scores come last.
  FormedModels(RunContext& context, const FormedModelFields& fields, const std::filesystem::path& tokenizers,
               const std::vector<std::string>& keys, const std::vector<std::string>& facts);

  /// Appends the rows that are missing, in order, and writes comparisons.csv. Weights are formed only where they are
  /// scored or saved. Throws Interrupted between two models.
  void run(const std::vector<FormedModel>& models);

 private:
  void write_comparisons(const std::vector<FormedModel>& models);

  RunContext& context_;
  ModelSink sink_;
  KeyedTable results_;
};

}  // namespace subspect::experiments::subspace
