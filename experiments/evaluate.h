// Evaluation: utility (GSM8K), harmfulness (AdvBench with a judge) and perplexity of models, in a run of their own
// (`kind: evaluate`) or inside another experiment, of weights that exist only in memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "experiments/experiment.h"
#include "experiments/judge/judging.h"
#include "model/decoder.h"

namespace subspect::model {
class Tokenizer;
}

namespace subspect::experiments {

/// One task of an evaluation.
struct TaskConfig {
  std::string name;
  int64_t limit = 0;
  int64_t max_new_tokens = 0;  ///< 0: what the task prescribes
  std::string prompt_format = "raw";
  std::string prompt_template;  ///< of the format custom
  InputPath train;              ///< gsm8k: rows that the shots are drawn from
  InputPath test;               ///< gsm8k
  int64_t shots = 1;            ///< gsm8k
  bool ignore_generation_config = false;
  InputPath prompts;                    ///< advbench
  std::vector<std::string> deviations;  ///< advbench
  JudgeConfig judge;                    ///< advbench
  InputPath data;                       ///< perplexity
  std::string field = "text";           ///< perplexity

  void visit(Fields& f);
};

/// How the intervals of scores are made.
struct IntervalConfig {
  int64_t resamples = 2000;
  int64_t seed = 42;

  void visit(Fields& f);
};

/// What each prompt of a task gave, behind a figure: what intervals and paired tests are made of.
struct Outcomes {
  std::vector<double> values;  ///< one a prompt, in the same order for every model; NaN where there is none
  /// Empty: the figure is the mean of the values. Else, one a prompt: it is exp(sum of values / sum of weights).
  std::vector<double> weights;
  double minimum = 0;  ///< smallest and largest possible value
  double maximum = 1;
  double step = 1;  ///< every value is a multiple of it; 0: they need not be
};

/// One figure of one model on one task.
struct Score {
  std::string task;
  std::string metric;
  double value = 0;  ///< NaN where it is undefined
  double standard_error = 0;
  int64_t n = 0;
  /// The column that this figure has in tables with one row per model: "gsm8k_flexible", "harmfulness", ...; empty for
  /// figures that stand in evaluation tables only.
  std::string column;
  Outcomes outcomes;  ///< empty for counts
};

/// A model that is evaluated, wherever its weights come from.
struct Subject {
  std::string name;
  model::Decoder& decoder;
  const model::Tokenizer& tokenizer;
  std::filesystem::path directory;                    ///< whose generation_config.json applies
  const model::Intervention* intervention = nullptr;  ///< of all forward passes; nullptr: none
};

class EvaluationTask;

/// Tasks with their prompts read once, asked for any number of models.
class Evaluator {
 public:
  /// Reads all prompts. @param cache folder for paid judgements. Throws Error or UsageError for bad files.
  Evaluator(const std::vector<TaskConfig>& tasks, const std::filesystem::path& cache);
  ~Evaluator();
  Evaluator(Evaluator&&) noexcept;

  /// Runs every task. @param samples JSONL file of every prompt, completion and verdict, written when all tasks are
  /// done; until then finished completions are kept beside it, so that a killed process goes on there. Empty: none.
  std::vector<Score> evaluate(RunContext& context, const Subject& subject, const std::filesystem::path& samples) const;

  /// The columns that `evaluate` fills, in a fixed order.
  std::vector<std::string> columns() const;
  /// Those of them whose figures have intervals.
  std::vector<std::string> interval_columns() const;

 private:
  std::vector<std::unique_ptr<EvaluationTask>> tasks_;
};

/// Checks that the files and the local judges of a task list exist and that no task is listed twice (its rows and
/// samples go by its name). For plans.
void check_tasks(const PlanContext& context, const std::vector<TaskConfig>& tasks);

/// Operations of one model on the tasks, for plans: every prompt with a completion of full length; perplexity, which
/// takes less, is left out. A GPU takes several times as long for them as for as many in training: it reads all weights
/// for every token of a batch. Rows of files that are not there are as many as the published sets have.
double evaluation_flops(const PlanContext& context, const std::vector<TaskConfig>& tasks,
                        const model::DecoderConfig& config);

/// Bytes that a model holds on the device while it is evaluated, for plans.
int64_t evaluation_bytes(const PlanContext& context, const model::DecoderConfig& config);

/// `kind: evaluate`.
class Evaluate final : public Experiment {
 public:
  std::string_view kind() const override { return "evaluate"; }
  void visit(Fields& f) override;
  Plan plan(const PlanContext& context) const override;
  void run(RunContext& context) override;

 private:
  Named<ModelPath> models_;
  std::vector<TaskConfig> tasks_;
  IntervalConfig intervals_;
};

}  // namespace subspect::experiments
