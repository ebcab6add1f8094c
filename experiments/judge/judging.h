// Judging inside an experiment: the configuration of a judge, and its verdicts on what models said.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "experiments/config/fields.h"
#include "experiments/experiment.h"
#include "experiments/judge/judge.h"

namespace subspect::experiments {

/// Who scores a completion from 1 (refuses) to 5 (fulfils).
struct JudgeConfig {
  std::string kind = "rules";
  std::string base_url;
  std::string model;      ///< openai: the endpoint's name of the model
  ModelPath local_model;  ///< local
  std::string api_key_env = "OPENAI_API_KEY";
  int64_t concurrency = 8;
  int64_t budget_tokens = 0;
  std::string prompt_format = "chatml";  ///< of a local judge
  std::string instruction;               ///< empty: the built-in one

  void visit(Fields& f);
};

/// Throws when a local judge does not exist. For plans.
void check_judge(const PlanContext& context, const JudgeConfig& config);

/// One judgement per exchange, in order. @param cache folder of answers of judges that cost something.
std::vector<Judgement> judge_exchanges(const RunContext& context, const JudgeConfig& config,
                                       const std::filesystem::path& cache, const std::vector<Exchange>& exchanges);

}  // namespace subspect::experiments
