// The list of judges.
#include <fmt/format.h>

#include <array>

#include "experiments/judge/judge.h"
#include "experiments/judge/model_judge.h"
#include "experiments/judge/rules.h"
#include "runtime/error.h"

namespace subspect::experiments {

namespace {

struct Entry {
  JudgeInfo info;
  std::unique_ptr<Judge> (*make)(const JudgeOptions&);
};

const std::array<Entry, 4>& entries() {
  static const std::array<Entry, 4> all = {{
      {{"rules", "refusal phrases, then a rough grade of what is said; offline, the default"},
       [](const JudgeOptions&) -> std::unique_ptr<Judge> { return std::make_unique<RulesJudge>(); }},
      {{"synthetic", "exact grading of potion questions of the tiny family; offline"},
       [](const JudgeOptions&) -> std::unique_ptr<Judge> { return std::make_unique<PotionJudge>(); }},
      {{"openai",
        "any OpenAI-compatible chat endpoint (base_url, model, api_key_env, concurrency); answers are cached"},
       [](const JudgeOptions& options) -> std::unique_ptr<Judge> { return std::make_unique<OpenAiJudge>(options); }},
      {{"local", "a model run by this program (model: DIR); answers are cached"},
       [](const JudgeOptions& options) -> std::unique_ptr<Judge> { return std::make_unique<ModelJudge>(options); }},
  }};
  return all;
}

}  // namespace

const std::vector<JudgeInfo>& judges() {
  static const std::vector<JudgeInfo> infos = [] {
    std::vector<JudgeInfo> made;
    for (const Entry& entry : entries()) made.push_back(entry.info);
    return made;
  }();
  return infos;
}

std::unique_ptr<Judge> make_judge(const JudgeOptions& options) {
  std::string names;
  for (const Entry& entry : entries()) {
    if (entry.info.name == options.kind) return entry.make(options);
    names += (names.empty() ? "" : ", ") + entry.info.name;
  }
  throw runtime::UsageError(fmt::format("unknown judge '{}'", options.kind), "judge", "use one of " + names);
}

}  // namespace subspect::experiments
