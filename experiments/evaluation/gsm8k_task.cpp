// GSM8K: prompts and both filters of lm-evaluation-harness, greedy completions of this engine.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "experiments/evaluation/task.h"
#include "experiments/tasks/gsm8k.h"
#include "model/prompts.h"
#include "runtime/error.h"

namespace subspect::experiments {

namespace {

class Gsm8kTask final : public EvaluationTask {
 public:
  explicit Gsm8kTask(const TaskConfig& config) : config_(config), rows_(read_gsm8k(config.test.filesystem())) {
    if (config.limit > 0 && rows_.size() > static_cast<size_t>(config.limit)) {
      rows_.resize(static_cast<size_t>(config.limit));
    }
    request_ = {.task = "gsm8k",
                .prompts = {},
                .prompt_format = config.prompt_format,
                .prompt_template = config.prompt_template,
                .max_new_tokens = config.max_new_tokens > 0 ? config.max_new_tokens : gsm8k_max_new_tokens,
                .stops = gsm8k_stops(),
                .ignore_generation_config = config.ignore_generation_config};
    if (config.prompt_format == "raw") {
      const std::vector<Gsm8kRow> train =
          config.shots > 0 ? read_gsm8k(config.train.filesystem()) : std::vector<Gsm8kRow>{};
      request_.prompts = gsm8k_prompts(train, rows_, {.shots = config.shots});
    } else {
      const auto format = model::make_prompt_format(
          config.prompt_format, {.system = {}, .custom_template = config.prompt_template, .date = {}});
      for (const Gsm8kRow& row : rows_)
        request_.prompts.push_back(format->render_prompt({row.question, "", std::nullopt}));
    }
  }

  std::string_view name() const override { return "gsm8k"; }
  std::vector<std::string> columns() const override { return {"gsm8k_flexible", "gsm8k_strict"}; }

  std::vector<Score> evaluate(const TaskRun& run) const override {
    const std::vector<CompletedPrompt> completions = complete_prompts(run, request_);
    std::vector<double> flexible;
    std::vector<double> strict;
    for (size_t i = 0; i < rows_.size(); ++i) {
      const Gsm8kVerdict verdict = score_gsm8k(completions[i].text, rows_[i].answer);
      flexible.push_back(verdict.flexible_correct ? 1.0 : 0.0);
      strict.push_back(verdict.strict_correct ? 1.0 : 0.0);
      run.lines->push_back({{"model", run.subject.name},
                            {"task", "gsm8k"},
                            {"index", i},
                            {"prompt", request_.prompts[i]},
                            {"completion", completions[i].text},
                            {"finish_reason", completions[i].finish_reason},
                            {"gold", rows_[i].answer},
                            {"flexible_extract", verdict.flexible},
                            {"strict_match", verdict.strict},
                            {"flexible_correct", verdict.flexible_correct},
                            {"strict_correct", verdict.strict_correct}});
    }
    return {score("exact_match_flexible", "gsm8k_flexible", flexible),
            score("exact_match_strict", "gsm8k_strict", strict)};
  }

 private:
  static Score score(std::string metric, std::string column, const std::vector<double>& right) {
    const Proportion share =
        proportion(std::count(right.begin(), right.end(), 1.0), static_cast<int64_t>(right.size()));
    return {.task = "gsm8k",
            .metric = std::move(metric),
            .value = share.value,
            .standard_error = share.standard_error,
            .n = share.n,
            .column = std::move(column),
            .outcomes = {.values = right, .weights = {}}};
  }

  TaskConfig config_;
  std::vector<Gsm8kRow> rows_;
  CompletionRequest request_;
};

}  // namespace

std::unique_ptr<EvaluationTask> make_gsm8k_task(const TaskConfig& config, const std::filesystem::path& /*cache*/) {
  return std::make_unique<Gsm8kTask>(config);
}

}  // namespace subspect::experiments
