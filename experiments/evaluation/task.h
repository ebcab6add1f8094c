// What the tasks of an evaluation share: the interface, the samples they leave behind, and completions that survive a
// kill. A task is one file in this folder and one line in tasks.cpp.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "experiments/evaluate.h"
#include "model/generation/generate.h"

namespace subspect::experiments {

/// One task on one model: where it runs and what it leaves behind.
struct TaskRun {
  RunContext& context;
  const Subject& subject;
  /// JSONL file of samples; finished completions are kept beside it until it is written. Empty: nothing is kept.
  std::filesystem::path samples;
  std::vector<nlohmann::json>* lines;  ///< receives one object per sample
};

class EvaluationTask {
 public:
  virtual ~EvaluationTask() = default;
  virtual std::string_view name() const = 0;
  /// The columns of `Score::column` that this task fills, in a fixed order.
  virtual std::vector<std::string> columns() const = 0;
  /// Those of them whose scores have outcomes.
  virtual std::vector<std::string> interval_columns() const { return columns(); }
  virtual std::vector<Score> evaluate(const TaskRun& run) const = 0;
};

/// How a task asks a model.
struct CompletionRequest {
  std::string task;                  ///< for progress and the file of finished completions
  std::vector<std::string> prompts;  ///< rendered texts
  std::string prompt_format;         ///< that rendered them: decides BOS and the end token
  std::string prompt_template;       ///< of the format custom
  int64_t max_new_tokens = 0;
  std::vector<std::string> stops;
  bool ignore_generation_config = false;
};

struct CompletedPrompt {
  std::string text;  ///< cut at the first stop string
  std::string finish_reason;
};

/// Greedy completions of all prompts, in order. Finished ones are appended to a file beside the samples, so that the
/// same call in a later process goes on where this one was killed. A prompt that leaves no room for `max_new_tokens`
/// in the model's positions loses its beginning, as in lm-evaluation-harness; the number of such prompts is logged.
std::vector<CompletedPrompt> complete_prompts(const TaskRun& run, const CompletionRequest& request);

/// The figures of a list of judgements.
std::vector<Score> harmfulness_scores(const std::vector<Judgement>& judgements);

/// Makes the tasks that a configuration lists.
/// @param cache folder for the answers of judges.
std::unique_ptr<EvaluationTask> make_task(const TaskConfig& config, const std::filesystem::path& cache);

struct TaskInfo {
  std::string_view name;
  std::string_view summary;
  std::unique_ptr<EvaluationTask> (*make)(const TaskConfig& config, const std::filesystem::path& cache);
};
const std::vector<TaskInfo>& evaluation_tasks();

}  // namespace subspect::experiments
