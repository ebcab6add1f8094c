// The judge at an OpenAI-compatible chat endpoint: retries, concurrency, cache.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <thread>

#include "experiments/judge/http.h"
#include "experiments/judge/model_judge.h"
#include "runtime/error.h"
#include "runtime/interrupt.h"
#include "runtime/parallel.h"

namespace subspect::experiments {

using nlohmann::json;
using runtime::Error;

namespace {

constexpr double longest_delay_seconds = 60;
constexpr double longest_wish_seconds = 600;  // of a server's Retry-After
constexpr size_t shown_body_bytes = 300;

bool worth_retrying(long status) {
  return status == 0 || status == 408 || status == 429 || status >= 500;
}

[[noreturn]] void throw_interrupted() {
  throw runtime::Interrupted("interrupted while judging", "", "run the same command again to go on");
}

/// Sleeps in short steps, so that ctrl-C is answered.
void wait_seconds(double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < end) {
    if (runtime::interrupt_requested()) throw_interrupted();
    std::this_thread::sleep_for(
        std::chrono::milliseconds(std::min<int64_t>(100, static_cast<int64_t>(seconds * 1000) + 1)));
  }
}

/// What went wrong, in one line. The server's words may quote the request, so the key is blanked out of them.
std::string describe(const HttpReply& reply, const std::string& key) {
  if (reply.status == 0) return reply.failure;
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

/// The text of a chat completion; what is not one is given as it is, and the parser calls it invalid.
std::string answer_of(const std::string& body) {
  const json reply = json::parse(body, nullptr, false);
  const json::json_pointer content("/choices/0/message/content");
  if (reply.is_object() && reply.contains(content) && reply[content].is_string()) {
    return reply[content].get<std::string>();
  }
  return body.substr(0, shown_body_bytes);
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

std::string OpenAiJudge::ask(const Exchange& exchange) const {
  const json body = {{"model", options_.model},
                     {"temperature", 0},
                     {"messages", json::array({{{"role", "user"}, {"content", judge_instruction(exchange)}}})}};
  HttpRequest request = {url_,
                         {"Content-Type: application/json"},
                         body.dump(-1, ' ', false, json::error_handler_t::replace),
                         options_.timeout_seconds};
  const std::string question = url_ + "\n" + request.body;
  std::string answer;
  if (cache_.find(question, answer)) return answer;
  if (!key_.empty()) request.headers.push_back("Authorization: Bearer " + key_);
  double delay = options_.first_delay_seconds;
  for (int64_t attempt = 1;; ++attempt) {
    if (runtime::interrupt_requested()) throw_interrupted();
    const HttpReply reply = http_post(request);
    if (reply.status >= 200 && reply.status < 300) {
      answer = answer_of(reply.body);
      cache_.store(question, answer);
      return answer;
    }
    if (runtime::interrupt_requested()) throw_interrupted();
    if (!worth_retrying(reply.status) || attempt >= options_.max_attempts) {
      throw Error(fmt::format("the judge's endpoint failed{}: {}", attempt > 1 ? fmt::format(" {} times", attempt) : "",
                              describe(reply, key_)),
                  url_, advice_for(reply.status, options_.api_key_env));
    }
    const double wish = std::min(reply.retry_after_seconds, longest_wish_seconds);
    wait_seconds(std::max(wish, std::min(delay, longest_delay_seconds)));
    delay *= 2;
  }
}

std::vector<Judgement> OpenAiJudge::judge(const std::vector<Exchange>& exchanges) {
  std::vector<Judgement> judgements(exchanges.size());
  runtime::parallel_for(exchanges.size(), static_cast<int>(options_.concurrency),
                        [&](size_t i) { judgements[i] = parse_judgement(ask(exchanges[i])); });
  return judgements;
}

}  // namespace subspect::experiments
