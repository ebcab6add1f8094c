// ModelScorer: evaluates weights that exist only in memory, reusing one decoder for all of them.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "experiments/evaluate.h"
#include "experiments/evaluation/score_intervals.h"
#include "model/checkpoint.h"
#include "model/decoder.h"

namespace subspect::experiments::subspace {

class ModelScorer {
 public:
  /// @param tokenizers directory whose tokenizer serves models that have none of their own.
  /// @param intervals of the scores.
  ModelScorer(RunContext& context, const std::vector<TaskConfig>& tasks, std::filesystem::path tokenizers,
              const IntervalConfig& intervals);
  ~ModelScorer();

  /// The columns that `score` fills: those of the tasks, then NAME_low and NAME_high of those with an interval.
  std::vector<std::string> columns() const;
  /// What each prompt gave, of all models scored so far, also by an earlier process.
  const OutcomeTable& outcomes() const { return outcomes_; }
  ScoreIntervals& intervals() { return intervals_; }

  /// Runs every task on the weights. @param name of the model, also of its samples file (samples/NAME.jsonl).
  /// @param directory whose config.json, generation_config.json and tokenizer the model has.
  NamedCells score(const std::string& name, const std::filesystem::path& directory, const model::NamedTensors& weights);

  /// The same for a model that its caller holds.
  NamedCells score(const Subject& subject);
  /// Keeps what lies behind further figures of a model; their cells, and those of their intervals.
  NamedCells record(const std::string& name, const std::vector<Score>& scores);

 private:
  struct Loaded;

  RunContext& context_;
  Evaluator evaluator_;
  OutcomeTable outcomes_;
  ScoreIntervals intervals_;
  std::filesystem::path tokenizers_;
  std::unique_ptr<Loaded> loaded_;  // of the directory seen last
};

}  // namespace subspect::experiments::subspace
