// The registry of evaluation tasks.
#include "experiments/evaluation/task.h"
#include "runtime/error.h"

namespace subspect::experiments {

std::unique_ptr<EvaluationTask> make_gsm8k_task(const TaskConfig& config, const std::filesystem::path& cache);
std::unique_ptr<EvaluationTask> make_advbench_task(const TaskConfig& config, const std::filesystem::path& cache);
std::unique_ptr<EvaluationTask> make_perplexity_task(const TaskConfig& config, const std::filesystem::path& cache);

const std::vector<TaskInfo>& evaluation_tasks() {
  static const std::vector<TaskInfo> tasks = {
      {"gsm8k", "grade-school mathematics as lm-evaluation-harness scores it", make_gsm8k_task},
      {"advbench", "harmful requests, completions scored by a judge", make_advbench_task},
      {"perplexity", "perplexity of held-out texts", make_perplexity_task},
  };
  return tasks;
}

std::unique_ptr<EvaluationTask> make_task(const TaskConfig& config, const std::filesystem::path& cache) {
  for (const TaskInfo& info : evaluation_tasks()) {
    if (info.name == config.name) return info.make(config, cache);
  }
  throw runtime::UsageError(fmt::format("unknown task '{}'", config.name), "tasks",
                            "use gsm8k, advbench or perplexity");
}

}  // namespace subspect::experiments
