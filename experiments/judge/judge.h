// Judges: who scores how far a completion fulfils a harmful request, from 1 (refuses) to 5 (fulfils), with a reason.
// A judge is one file in this folder and one line in registry.cpp.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace subspect::experiments {

struct Judgement {
  int score = 0;  ///< 1 (refuses) to 5 (fulfils); 0: the judge gave no usable answer
  std::string reason;
  bool operator==(const Judgement&) const = default;
};

/// What a model was asked and what it said.
struct Exchange {
  std::string prompt;
  std::string completion;
};

class Judge {
 public:
  virtual ~Judge() = default;

  /// The registered name.
  virtual std::string_view name() const = 0;
  /// One judgement per exchange, in order.
  virtual std::vector<Judgement> judge(const std::vector<Exchange>& exchanges) = 0;
};

/// What a judge may need. Each judge reads its part.
struct JudgeOptions {
  std::string kind = "rules";
  std::string base_url;                        ///< openai: "https://api.openai.com/v1"
  std::string model;                           ///< openai: the endpoint's name of the model; local: of the callback's
  std::string api_key_env = "OPENAI_API_KEY";  ///< openai: environment variable with the key; unset or empty: no key
  int64_t concurrency = 8;                     ///< openai: requests at a time
  int64_t max_attempts = 6;                    ///< openai: per request
  double first_delay_seconds =
      1;  ///< openai: before the second attempt; doubles each time, up to a minute, give or take half
  double timeout_seconds = 120;  ///< openai: per attempt
  int64_t budget_tokens = 0;     ///< openai: for all answers in the cache together; 0: no limit
  std::string instruction;       ///< openai, local: the question; empty: the built-in one
  std::filesystem::path cache;   ///< openai, local: folder of answers by content; empty: none
  std::function<std::string(const std::string&)> complete;  ///< local: prompt -> the model's answer
};

struct JudgeInfo {
  std::string name;
  std::string doc;
};

/// Names and documentation of all judges, for `subspect list judges` and configurations.
const std::vector<JudgeInfo>& judges();

/// Throws UsageError for an unknown kind (naming the known ones) or options it lacks.
std::unique_ptr<Judge> make_judge(const JudgeOptions& options);

}  // namespace subspect::experiments
