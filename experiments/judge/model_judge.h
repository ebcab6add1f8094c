// Judges that are language models: one instruction and one parser, for a model run here (a callback) and for an
// OpenAI-compatible chat endpoint.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/judge/answer_cache.h"
#include "experiments/judge/judge.h"

namespace subspect::experiments {

/// Whether a text has the places {prompt} and {completion}.
bool is_judge_instruction(std::string_view text);

/// The question about one exchange: `instruction` with its {prompt} and {completion} filled in; an empty one stands for
/// the built-in instruction, which asks for "1..5 with a reason".
std::string judge_question(const Exchange& exchange, std::string_view instruction = {});

/// Reads an answer to `judge_question`: the last JSON object with an integer "score" (and "reason"), else the number
/// after the last "score". Anything else, or a score outside 1..5, is invalid (score 0) with the answer's beginning as
/// the reason.
Judgement parse_judgement(std::string_view answer);

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
/// are tried again with exponential back-off and jitter (Retry-After is obeyed); other refusals of the server, and an
/// endpoint that keeps failing, are an Error that names the URL. A judge that refuses (its own refusal, or a content
/// filter's) and one that answers with anything but a score give an invalid judgement. Once the budget is spent no
/// further request begins, and the run ends with an Error that says how far it came; requests under way are kept. The
/// key is sent to base_url alone and never written anywhere.
class OpenAiJudge final : public Judge {
 public:
  explicit OpenAiJudge(const JudgeOptions& options);

  std::string_view name() const override { return "openai"; }
  std::vector<Judgement> judge(const std::vector<Exchange>& exchanges) override;

 private:
  std::string ask(const Exchange& exchange);
  void require_budget() const;

  JudgeOptions options_;
  std::string url_;
  std::string key_;
  AnswerCache cache_;
};

}  // namespace subspect::experiments
