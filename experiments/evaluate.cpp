// Evaluation of models on a list of tasks.
#include "experiments/evaluate.h"

#include <nlohmann/json.hpp>
#include <set>

#include "experiments/data/records.h"
#include "experiments/deviations.h"
#include "experiments/evaluation/score_intervals.h"
#include "experiments/evaluation/task.h"
#include "experiments/tasks/advbench.h"
#include "experiments/tasks/gsm8k.h"
#include "model/checkpoint.h"
#include "model/hub.h"
#include "model/inspect.h"
#include "model/prompts.h"
#include "model/tokenizer/tokenizer.h"
#include "runtime/error.h"
#include "runtime/io/files.h"

namespace subspect::experiments {

namespace {

constexpr int64_t published_gsm8k_rows = 1319;
constexpr int64_t published_advbench_rows = 520;
constexpr int64_t tokens_of_a_question = 80;  // about, of GSM8K; an answer has as many
constexpr int64_t tokens_of_a_request = 16;   // about, of AdvBench

int64_t count_records(const std::filesystem::path& path) {
  int64_t rows = 0;
  read_records(path, [&](const nlohmann::json&, const RecordPlace&) { return ++rows > 0; });
  return rows;
}

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const TaskInfo& info : evaluation_tasks()) names.emplace_back(info.name);
  return names;
}

/// One object per line, all at once.
void write_lines(const std::filesystem::path& path, const std::vector<nlohmann::json>& lines) {
  runtime::io::write_file_atomically(path, [&](runtime::io::AtomicFile& file) {
    for (const nlohmann::json& line : lines) file.write(line.dump() + "\n");
  });
}

/// Finished completions are of no use once the samples are written.
void remove_partial(const std::filesystem::path& samples) {
  const std::string prefix = samples.filename().string() + ".";
  for (const auto& entry : std::filesystem::directory_iterator(samples.parent_path())) {
    const std::string file = entry.path().filename().string();
    if (file.starts_with(prefix) && file.ends_with(".partial")) std::filesystem::remove(entry.path());
  }
}

/// Every model against those listed before it, on each metric.
void compare_models(const RunDir& dir, const Named<ModelPath>& models, const OutcomeTable& outcomes,
                    ScoreIntervals& intervals) {
  std::vector<Contrast> contrasts;
  for (const std::string& metric : outcomes.metrics()) {
    for (size_t a = 0; a < models.size(); ++a) {
      for (size_t b = 0; b < a; ++b) {
        const auto of_a = outcomes.find(models[a].first, metric), of_b = outcomes.find(models[b].first, metric);
        if (!of_a || !of_b) continue;
        contrasts.push_back({.family = "models",
                             .metric = metric,
                             .model = models[a].first,
                             .against = models[b].first,
                             .result = intervals.compare(*of_a, *of_b)});
      }
    }
  }
  write_comparisons(dir, contrasts);
}

}  // namespace

void IntervalConfig::visit(Fields& f) {
  f.field("resamples", resamples, "bootstrap resamples of the prompts for intervals of 95 %; 0: none",
          Rule().at_least(0));
  f.field("seed", seed, "of the resamples", Rule().at_least(0));
}

void TaskConfig::visit(Fields& f) {
  f.field("name", name, "the task", Rule().required().one_of(task_names()));
  f.field("limit", limit, "first so many rows; 0 = all", Rule().at_least(0));
  if (f.when(name != "perplexity", "name is gsm8k or advbench")) {
    f.field("max_new_tokens", max_new_tokens,
            "length of a completion; 0 = what the task prescribes (gsm8k 256, "
            "advbench 512)",
            Rule().at_least(0));
    f.field("prompt_format", prompt_format,
            "raw is what the published scores use; any other asks the bare question "
            "in that format",
            Rule().one_of(model::prompt_format_names(true)));
    if (f.when(prompt_format == "custom", "prompt_format is custom")) {
      f.field("prompt_template", prompt_template, "with {instruction} and {response}", Rule().required());
    }
    f.field("ignore_generation_config", ignore_generation_config,
            "leave the repetition penalty of the model's "
            "generation_config.json aside");
  }
  if (f.when(name == "gsm8k", "name is gsm8k")) {
    f.field("test", test, "rows {question, answer}", Rule().required());
    f.field("shots", shots, "solved examples before the question", Rule().at_least(0));
    f.check(prompt_format == "raw" || shots == 0, "shots", "shots need the raw prompt format",
            "set shots: 0 or prompt_format: raw");
    if (f.when(shots > 0, "shots is above 0")) {
      f.field("train", train, "rows that the shots are drawn from", Rule().required());
    }
  }
  if (f.when(name == "advbench", "name is advbench")) {
    f.field("prompts", prompts, "rows with a field goal", Rule().required());
    visit_deviations(f, "advbench", deviations);
    f.field("judge", judge, "who scores the completions from 1 (refuses) to 5 (fulfils)");
  }
  if (f.when(name == "perplexity", "name is perplexity")) {
    f.field("data", data, "held-out texts", Rule().required());
    f.field("field", field, "the field that holds the text");
  }
}

Evaluator::Evaluator(const std::vector<TaskConfig>& tasks, const std::filesystem::path& cache) {
  for (const TaskConfig& config : tasks) tasks_.push_back(make_task(config, cache));
}

Evaluator::~Evaluator() = default;
Evaluator::Evaluator(Evaluator&&) noexcept = default;

std::vector<Score> Evaluator::evaluate(RunContext& context, const Subject& subject,
                                       const std::filesystem::path& samples) const {
  std::vector<nlohmann::json> lines;
  std::vector<Score> scores;
  for (const auto& task : tasks_) {
    const std::vector<Score> more = task->evaluate({context, subject, samples, &lines});
    scores.insert(scores.end(), more.begin(), more.end());
  }
  if (!samples.empty()) {
    write_lines(samples, lines);
    remove_partial(samples);
  }
  return scores;
}

std::vector<std::string> Evaluator::columns() const {
  std::vector<std::string> columns;
  for (const auto& task : tasks_) {
    const std::vector<std::string> more = task->columns();
    columns.insert(columns.end(), more.begin(), more.end());
  }
  return columns;
}

std::vector<std::string> Evaluator::interval_columns() const {
  std::vector<std::string> columns;
  for (const auto& task : tasks_) {
    const std::vector<std::string> more = task->interval_columns();
    columns.insert(columns.end(), more.begin(), more.end());
  }
  return columns;
}

void check_tasks(const PlanContext& context, const std::vector<TaskConfig>& tasks) {
  std::set<std::string> names;
  for (const TaskConfig& task : tasks) {
    if (!names.insert(task.name).second) {
      throw runtime::UsageError(fmt::format("the task '{}' is listed twice", task.name), "tasks",
                                "list it once, and run a second configuration for other options");
    }
    check_judge(context, task.judge);
    if (!task.test.empty()) context.require_file(task.test, "test");
    if (!task.train.empty()) context.require_file(task.train, "train");
    if (!task.prompts.empty()) context.require_file(task.prompts, "prompts");
    if (!task.data.empty()) context.require_file(task.data, "data");
  }
}

double evaluation_flops(const PlanContext& context, const std::vector<TaskConfig>& tasks,
                        const model::DecoderConfig& config) {
  double flops = 0;
  for (const TaskConfig& task : tasks) {
    if (task.name == "perplexity") continue;
    const bool is_gsm8k = task.name == "gsm8k";
    const InputPath& file = is_gsm8k ? task.test : task.prompts;
    int64_t rows = is_gsm8k ? published_gsm8k_rows : published_advbench_rows;
    if (context.require_file(file, "tasks") && file.stage().empty()) rows = count_records(file.filesystem());
    if (task.limit > 0) rows = std::min(rows, task.limit);
    const int64_t prescribed = is_gsm8k ? gsm8k_max_new_tokens : advbench_max_new_tokens;
    const int64_t prompt = is_gsm8k ? tokens_of_a_question * (1 + 2 * task.shots) : tokens_of_a_request;
    const int64_t length = prompt + (task.max_new_tokens > 0 ? task.max_new_tokens : prescribed);
    flops += static_cast<double>(rows * length) * model::forward_flops_per_token(config, length);
  }
  return flops;
}

int64_t evaluation_bytes(const PlanContext& context, const model::DecoderConfig& config) {
  return model::plan_inference(config, model::compute_dtype(config.dtype), model::default_sequences(context.device),
                               config.max_positions,
                               model::default_cache_bytes(context.device.type, context.device_memory))
      .total();
}

void Evaluate::visit(Fields& f) {
  f.field("models", models_, "name -> model", Rule().required().not_empty());
  f.field("tasks", tasks_, "what is measured", Rule().required().not_empty());
  f.field("intervals", intervals_, "of the scores, and of their differences between models");
}

Plan Evaluate::plan(const PlanContext& context) const {
  check_tasks(context, tasks_);
  Plan plan;
  for (const auto& [name, path] : models_) {
    if (const auto config = context.decoder_config(path)) {
      plan.parameters = std::max(plan.parameters, model::count_parameters(*config).total());
      plan.flops += evaluation_flops(context, tasks_, *config);
      plan.device_bytes = std::max(plan.device_bytes, evaluation_bytes(context, *config));
    }
    for (const TaskConfig& task : tasks_) plan.steps.push_back(fmt::format("evaluate {} on {}", name, task.name));
  }
  return plan;
}

void Evaluate::run(RunContext& context) {
  Table table = context.dir.table(score_columns());
  OutcomeTable outcomes(context.dir);
  ScoreIntervals intervals(intervals_);
  Table done(context.dir.state(), "evaluated", {"model"});  // models whose rows are complete
  const Evaluator evaluator(tasks_, context.dir.state() / "judgements");
  std::string all_samples;
  for (const auto& [name, path] : models_) {
    const std::filesystem::path samples = context.dir.file("samples/" + name + ".jsonl");
    if (!done.contains({{"model", name}})) {
      context.stop_if_interrupted();
      const std::filesystem::path directory = model::find_model(path.string(), context.downloads);
      const model::Tokenizer tokenizer = model::Tokenizer::load(directory);
      model::Decoder decoder = model::load_decoder(context.stream, directory);
      const std::vector<Score> scores = evaluator.evaluate(context, {name, decoder, tokenizer, directory}, samples);
      outcomes.add(name, scores);
      append_scores(table, name, scores, intervals);
      done.append(NamedCells{{"model", name}});
      for (const Score& score : scores) {
        context.log.info("{}: {} {} = {:.4f}", name, score.task, score.metric, score.value);
      }
    }
    all_samples += runtime::io::read_file(samples);
  }
  runtime::io::write_file_atomically(context.dir.path() / "samples.jsonl", all_samples);
  table.write();
  compare_models(context.dir, models_, outcomes, intervals);
}

}  // namespace subspect::experiments
