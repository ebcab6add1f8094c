// The judge at an OpenAI-compatible chat endpoint: retries, concurrency, cache, budget.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>

#include "experiments/judge/model_judge.h"
#include "runtime/error.h"
#include "runtime/io/http.h"
#include "runtime/parallel.h"

namespace subspect::experiments {

using nlohmann::json;
using runtime::Error;
using runtime::io::HttpReply;
using runtime::io::HttpRequest;

namespace {

constexpr size_t shown_body_bytes = 300;

/// What went wrong, in one line. The server's words may quote the request, so the key is blanked out of them.
std::string describe(const HttpReply& reply, const std::string& key) {
  if (!reply.failure.empty()) return reply.failure;
  std::string body = reply.body.substr(0, shown_body_bytes);
  std::replace_if(
      body.begin(), body.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  for (size_t at = body.find(key); !key.empty() && at != std::string::npos; at = body.find(key)) {
    body.replace(at, key.size(), "<key>");
  }
  return fmt::format("HTTP status {}{}{}", reply.status, body.empty() ? "" : ": ", body);
}

std::string advice_for(long status, const std::string& key_variable) {
  if (status == 401 || status == 403) return fmt::format("check the key in the environment variable {}", key_variable);
  if (status == 404) return "check base_url and the name of the model";
  if (status == 400) return "check the name of the model and what the endpoint allows";
  return "check base_url and that the endpoint is up; answers so far are kept, so run the same command again";
}

/// What an endpoint answered, and what it says that cost.
struct Completion {
  std::string text;
  int64_t tokens = 0;
};

/// A text in the reply, or nothing.
std::optional<std::string> text_at(const json& reply, const char* pointer) {
  const json::json_pointer place(pointer);
  if (!reply.is_object() || !reply.contains(place) || !reply[place].is_string()) return std::nullopt;
  return reply[place].get<std::string>();
}

/// Reads a chat completion. The judge's own refusal and what is no completion are given as they are: the parser finds
/// no score in them. Where the endpoint tells no usage, four bytes count as a token.
Completion read_completion(const json& reply, const std::string& body, size_t question_bytes) {
  constexpr size_t bytes_of_a_token = 4;
  Completion completion;
  const auto content = text_at(reply, "/choices/0/message/content");
  const auto refusal = text_at(reply, "/choices/0/message/refusal");
  completion.text =
      content ? *content : (refusal ? "the judge refuses: " + *refusal : body.substr(0, shown_body_bytes));
  const json::json_pointer total("/usage/total_tokens");
  completion.tokens = reply.is_object() && reply.contains(total) && reply[total].is_number_unsigned()
                          ? reply[total].get<int64_t>()
                          : static_cast<int64_t>((question_bytes + completion.text.size()) / bytes_of_a_token);
  return completion;
}

/// Whether the endpoint refuses the question for what it says: a verdict on this exchange and not a failure.
bool is_content_filter(const HttpReply& reply) {
  return reply.status == 400 && (reply.body.find("content_filter") != std::string::npos ||
                                 reply.body.find("content_policy") != std::string::npos);
}

std::string with_chat_path(std::string base_url) {
  while (base_url.ends_with('/')) base_url.pop_back();
  return base_url + "/chat/completions";
}

}  // namespace

OpenAiJudge::OpenAiJudge(const JudgeOptions& options)
    : options_(options), url_(with_chat_path(options.base_url)), cache_(options.cache) {
  const auto need = [](bool ok, const char* what, const char* advice) {
    if (!ok) throw runtime::UsageError(what, "judge", advice);
  };
  need(options_.base_url.starts_with("http://") || options_.base_url.starts_with("https://"),
       "judge 'openai' needs a base_url that begins with http:// or https://", "for example https://api.openai.com/v1");
  need(!options_.model.empty(), "judge 'openai' needs a model", "give the name that the endpoint knows it by");
  need(options_.concurrency >= 1 && options_.max_attempts >= 1, "concurrency and attempts of a judge are at least 1",
       "raise them");
  const char* key = options_.api_key_env.empty() ? nullptr : std::getenv(options_.api_key_env.c_str());
  if (key != nullptr) key_ = key;
}

void OpenAiJudge::require_budget() const {
  const int64_t spent = options_.budget_tokens > 0 ? cache_.tokens() : 0;
  if (spent < options_.budget_tokens || options_.budget_tokens == 0) return;
  throw Error(fmt::format("the judge's budget of {} tokens is spent ({} used)", options_.budget_tokens, spent), url_,
              "raise budget_tokens and run the same command again: the answers so far are kept");
}

std::string OpenAiJudge::ask(const Exchange& exchange) {
  const json body = {
      {"model", options_.model},
      {"temperature", 0},
      {"messages", json::array({{{"role", "user"}, {"content", judge_question(exchange, options_.instruction)}}})}};
  HttpRequest request{.url = url_, .method = HttpRequest::Method::post, .token = key_};
  request.headers = {"Content-Type: application/json"};
  request.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
  request.stall_seconds = options_.timeout_seconds;
  request.timeout_seconds = options_.timeout_seconds;
  const std::string question = url_ + "\n" + request.body;
  if (const auto known = cache_.find(question)) return *known;
  require_budget();
  runtime::io::Backoff backoff(options_.first_delay_seconds);
  for (int64_t attempt = 1;; ++attempt) {
    const HttpReply reply = runtime::io::http_request(request);
    if (reply.ok() || is_content_filter(reply)) {
      const Completion completion =
          read_completion(json::parse(reply.body, nullptr, false), reply.body, request.body.size());
      cache_.store(question, completion.text, completion.tokens);
      return completion.text;
    }
    if (!reply.worth_retrying || attempt >= options_.max_attempts) {
      throw Error(fmt::format("the judge's endpoint failed{}: {}", attempt > 1 ? fmt::format(" {} times", attempt) : "",
                              describe(reply, key_)),
                  url_, advice_for(reply.status, options_.api_key_env));
    }
    backoff.pause(reply.retry_after_seconds);
  }
}

std::vector<Judgement> OpenAiJudge::judge(const std::vector<Exchange>& exchanges) {
  std::vector<Judgement> judgements(exchanges.size());
  runtime::parallel_for(exchanges.size(), static_cast<int>(options_.concurrency),
                        [&](size_t i) { judgements[i] = parse_judgement(ask(exchanges[i])); });
  return judgements;
}

}  // namespace subspect::experiments
