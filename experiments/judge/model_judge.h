// Judges that are language models: one instruction and one parser, for a model run here (a callback) and for an
// OpenAI-compatible chat endpoint.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/judge/judge.h"

namespace subspect::experiments {

/// The instruction that asks for "1..5 with a reason" about one exchange.
std::string judge_instruction(const Exchange& exchange);

/// Reads an answer to `judge_instruction`: the last JSON object with an integer "score" (and "reason"), else the number
/// after the last "score". Anything else, or a score outside 1..5, is invalid (score 0) with the answer's beginning as
/// the reason.
Judgement parse_judgement(std::string_view answer);

/// A folder of answers by the SHA-256 of what was asked. Damaged entries count as absent. Thread-safe.
class AnswerCache {
 public:
  explicit AnswerCache(std::filesystem::path folder) : folder_(std::move(folder)) {}

  /// True and the stored answer when `question` was answered before.
  bool find(const std::string& question, std::string& answer) const;
  void store(const std::string& question, const std::string& answer) const;

 private:
  std::filesystem::path file_of(const std::string& question) const;

  std::filesystem::path folder_;  // empty: no cache
};

/// A model behind a callback.
class ModelJudge final : public Judge {
 public:
  explicit ModelJudge(const JudgeOptions& options);

  std::string_view name() const override { return "local"; }
  std::vector<Judgement> judge(const std::vector<Exchange>& exchanges) override;

 private:
  JudgeOptions options_;
  AnswerCache cache_;
};

/// A chat endpoint: POST base_url/chat/completions at temperature 0, `concurrency` requests at a time. Every answer is
/// cached as it arrives, so that a resumed run asks only what is missing. Time-outs, lost connections, 408, 429 and 5xx
/// are tried again with exponential back-off (Retry-After is obeyed); other refusals, and an endpoint that keeps
/// failing, are an Error that names the URL. The key is sent to base_url alone and never written anywhere.
class OpenAiJudge final : public Judge {
 public:
  explicit OpenAiJudge(const JudgeOptions& options);

  std::string_view name() const override { return "openai"; }
  std::vector<Judgement> judge(const std::vector<Exchange>& exchanges) override;

 private:
  std::string ask(const Exchange& exchange) const;

  JudgeOptions options_;
  std::string url_;
  std::string key_;
  AnswerCache cache_;
};

}  // namespace subspect::experiments
