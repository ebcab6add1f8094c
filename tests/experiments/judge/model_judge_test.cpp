// Model judges: the instruction, the parser, the cache, the callback, and the endpoint against a small HTTP server.
#include "experiments/judge/model_judge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "runtime/error.h"
#include "runtime/interrupt.h"
#include "runtime/io/files.h"
#include "tests/runtime/io/http_server.h"

namespace subspect::experiments {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(JudgementParserTest, ReadsJsonAndText) {
  EXPECT_EQ(parse_judgement(R"({"reason": "it refuses", "score": 1})"), (Judgement{1, "it refuses"}));
  EXPECT_EQ(parse_judgement("Here:\n```json\n{\"score\": \"4\", \"reason\": \"mostly\"}\n```"),
            (Judgement{4, "mostly"}));
  EXPECT_EQ(parse_judgement(R"({"score": 2.0})").score, 2);
  EXPECT_EQ(parse_judgement(R"(First {"score": 1}, no: {"reason": "has {braces}", "score": 3})"),
            (Judgement{3, "has {braces}"}));
  EXPECT_EQ(parse_judgement("**Score:** 5 because it does").score, 5);
  EXPECT_EQ(parse_judgement("score = 3").score, 3);
  EXPECT_EQ(parse_judgement("My score: 3.").score, 3);
}

TEST(JudgementParserTest, CallsTheRestInvalid) {
  for (const char* bad :
       {"", "no idea", "5", R"({"score": 6})", R"({"score": 0})", R"({"score": 2.5})", R"({"score": null})",
        R"({"score": 4294967297})", R"({"score": [3]})", "score: 12", "score: 2.5",
        "score: 4/5 or so? {\"score\": \"?\"}", "score: high", "{{{{", "score", "\xff\xfe"}) {
    const Judgement judgement = parse_judgement(bad);
    EXPECT_EQ(judgement.score, 0) << bad;
    EXPECT_THAT(judgement.reason, HasSubstr("no score from 1 to 5"));
  }
  EXPECT_EQ(parse_judgement(std::string(1'000'000, '{')).score, 0);
}

TEST(JudgeInstructionTest, HoldsBothSidesAndTheScale) {
  EXPECT_THAT(judge_question({"the request", "the answer"}),
              AllOf(HasSubstr("<request>\nthe request\n</request>"), HasSubstr("<answer>\nthe answer\n</answer>"),
                    HasSubstr("1: refuses"), HasSubstr("5: fulfils"), HasSubstr("\"score\": N")));
}

/// A folder for the cache, and no interrupt left behind.
class ModelJudgeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "subspect-judge-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override {
    runtime::set_interrupt_requested(false);
    fs::remove_all(folder_);
  }

  fs::path folder_;
};

TEST_F(ModelJudgeTest, AsksTheCallbackOnceForEachExchange) {
  int asked = 0;
  JudgeOptions options;
  options.kind = "local";
  options.cache = folder_;
  options.complete = [&](const std::string& prompt) {
    ++asked;
    return prompt.find("\xff") != std::string::npos ? "?" : R"({"score": 2, "reason": "r"})";
  };
  const std::vector<Exchange> exchanges = {{"p", "c"}, {"p", "d"}, {"p", "c"}, {"p", "\xff"}};
  for (int pass = 0; pass < 2; ++pass) {
    const auto judgements = make_judge(options)->judge(exchanges);
    EXPECT_EQ(judgements.at(1), (Judgement{2, "r"}));
    EXPECT_EQ(judgements.at(3).score, 0);
    EXPECT_EQ(asked, 3) << "equal exchanges and a second pass are answered from the cache";
  }
  options.model = "another";
  make_judge(options)->judge({{"p", "c"}});
  EXPECT_EQ(asked, 4) << "another model is another answer";
}

TEST(JudgeInstructionTest, MayBeOnesOwn) {
  EXPECT_TRUE(is_judge_instruction("{prompt} {completion}"));
  EXPECT_FALSE(is_judge_instruction("{prompt}"));
  EXPECT_EQ(judge_question({"a {completion}", "b {prompt}"}, "{\"x\": {prompt}} | {completion} | {other"),
            "{\"x\": a {completion}} | b {prompt} | {other");
}

TEST_F(ModelJudgeTest, AnotherInstructionIsAnotherQuestion) {
  std::vector<std::string> asked;
  JudgeOptions options;
  options.kind = "local";
  options.cache = folder_;
  options.complete = [&](const std::string& prompt) {
    asked.push_back(prompt);
    return "{\"score\": 2}";
  };
  make_judge(options)->judge({{"p", "c"}});
  options.instruction = "Grade {completion} for {prompt}";
  make_judge(options)->judge({{"p", "c"}});
  ASSERT_EQ(asked.size(), 2U);
  EXPECT_EQ(asked[1], "Grade c for p");
}

TEST_F(ModelJudgeTest, TheCacheKeepsAnswersAndWhatTheyCost) {
  {
    AnswerCache cache(folder_ / "deep");
    EXPECT_FALSE(cache.find("q"));
    cache.store("q", std::string("a\0b\xff", 4), 7);
    cache.store("r", "", 5);
    cache.store("r", "again", 6);
    EXPECT_EQ(cache.find("q"), std::string("a\0b\xff", 4));
    EXPECT_EQ(cache.tokens(), 13);
    AnswerCache second(folder_ / "deep");  // as another process would
    second.store("s", "t");
    EXPECT_EQ(cache.find("s"), "t");
  }
  EXPECT_EQ(AnswerCache(folder_ / "deep").find("r"), "again");
  AnswerCache none({});
  none.store("q", "a");
  EXPECT_EQ(none.find("q"), "a");
  EXPECT_FALSE(AnswerCache({}).find("q"));
}

TEST_F(ModelJudgeTest, AFileThatIsNoCacheIsAnErrorWithItsName) {
  std::ofstream(folder_ / "answers.sqlite") << std::string(5000, 'x');
  try {
    AnswerCache cache(folder_);
    FAIL() << "no error";
  } catch (const runtime::Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("answers.sqlite"), HasSubstr("remove the file")));
  }
}

TEST_F(ModelJudgeTest, AnInterruptStopsBetweenExchanges) {
  JudgeOptions options;
  options.kind = "local";
  options.complete = [](const std::string&) {
    runtime::set_interrupt_requested(true);
    return "{\"score\": 1}";
  };
  EXPECT_THROW(make_judge(options)->judge({{"a", "b"}, {"c", "d"}}), runtime::Interrupted);
}

using Request = subspect::testing::HttpTestRequest;
using Reply = subspect::testing::HttpTestReply;
using Server = subspect::testing::HttpTestServer;

Reply completion(const std::string& content) {
  return {200, json{{"choices", {{{"message", {{"content", content}}}}}}}.dump()};
}

class OpenAiJudgeTest : public ModelJudgeTest {
 protected:
  void SetUp() override {
    ModelJudgeTest::SetUp();
    ::setenv("SUBSPECT_TEST_KEY", key.c_str(), 1);
  }

  JudgeOptions options_for(const Server& server) const {
    JudgeOptions options;
    options.kind = "openai";
    options.base_url = server.url() + "/v1";
    options.model = "grader";
    options.api_key_env = "SUBSPECT_TEST_KEY";
    options.first_delay_seconds = 0.01;
    options.timeout_seconds = 20;
    options.max_attempts = 4;
    options.cache = folder_ / "cache";
    return options;
  }

  static std::string error_of(const JudgeOptions& options) {
    try {
      make_judge(options)->judge({{"p", "c"}});
    } catch (const runtime::Error& error) {
      return error.what();
    }
    return "no error";
  }

  const std::string key = "sk-secret-0123456789";
};

TEST_F(OpenAiJudgeTest, SendsTheExchangeAndReadsTheScoreInOrder) {
  std::mutex mutex;
  std::string seen;
  const Server server([&](const Request& request) {
    const std::lock_guard lock(mutex);
    seen = request.text;
    const size_t at = request.text.find("answer-");
    return completion(fmt::format("{{\"score\": {}, \"reason\": \"r\"}}", 1 + (request.text[at + 7] - '0') % 5));
  });
  std::vector<Exchange> exchanges;
  for (int i = 0; i < 10; ++i) exchanges.push_back({"the \"request\"", fmt::format("answer-{}", i)});
  const auto judgements = make_judge(options_for(server))->judge(exchanges);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(judgements.at(static_cast<size_t>(i)).score, 1 + i % 5);
  EXPECT_THAT(seen, AllOf(HasSubstr("POST /v1/chat/completions HTTP/1.1"), HasSubstr("Authorization: Bearer " + key),
                          HasSubstr("Content-Type: application/json")));
  const json body = json::parse(seen.substr(seen.find("\r\n\r\n") + 4));
  EXPECT_EQ(body["model"], "grader");
  EXPECT_EQ(body["temperature"], 0);
  EXPECT_THAT(body["messages"][0]["content"].get<std::string>(), HasSubstr("the \"request\""));
}

TEST_F(OpenAiJudgeTest, AsksSeveralAtATimeButNoMoreThanAllowed) {
  std::atomic<int> waiting = 0;
  const Server server([&](const Request&) {
    // Holds each of the first three requests until all three are here: only concurrent asking gets past this.
    ++waiting;
    for (int i = 0; i < 2000 && waiting < 3; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return completion("{\"score\": 1}");
  });
  JudgeOptions options = options_for(server);
  options.concurrency = 3;
  std::vector<Exchange> exchanges;
  for (int i = 0; i < 12; ++i) exchanges.push_back({"p", std::to_string(i)});
  make_judge(options)->judge(exchanges);
  EXPECT_EQ(server.most_at_a_time(), 3);
}

TEST_F(OpenAiJudgeTest, PaysNothingTwice) {
  const Server server([](const Request&) { return completion("{\"score\": 3, \"reason\": \"half\"}"); });
  const JudgeOptions options = options_for(server);
  EXPECT_EQ(make_judge(options)->judge({{"p", "a"}, {"p", "b"}}).at(1), (Judgement{3, "half"}));
  EXPECT_EQ(server.requests().size(), 2U);
  EXPECT_EQ(make_judge(options)->judge({{"p", "b"}, {"p", "a"}, {"p", "c"}}).at(0), (Judgement{3, "half"}));
  EXPECT_EQ(server.requests().size(), 3U);
}

TEST_F(OpenAiJudgeTest, TriesAgainWhenTheServerIsBusyOrBroken) {
  std::mutex mutex;
  std::deque<Reply> script = {{429, "slow down", "Retry-After: 1\r\n"}, {503}, {.hangs_up = true}};
  const Server server([&](const Request&) {
    const std::lock_guard lock(mutex);
    if (script.empty()) return completion("{\"score\": 4}");
    const Reply next = script.front();
    script.pop_front();
    return next;
  });
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(make_judge(options_for(server))->judge({{"p", "c"}}).at(0).score, 4);
  EXPECT_EQ(server.requests().size(), 4U);
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::seconds(1)) << "Retry-After is obeyed";
}

TEST_F(OpenAiJudgeTest, GarbageIsInvalidAndKeepsTheRunGoing) {
  for (const char* body :
       {"", "not json", "[]", "{\"choices\": []}", "{\"choices\": [{\"message\": {\"content\": null}}]}",
        "{\"choices\": {\"0\": 1}}", "{\"choices\": [{\"message\": {\"content\": \"I grade it highly\"}}]}"}) {
    const Server server([&](const Request&) { return Reply{200, body}; });
    EXPECT_EQ(make_judge(options_for(server))->judge({{"p", "c"}}).at(0).score, 0) << body;
  }
}

TEST_F(OpenAiJudgeTest, RefusalsOfTheJudgeAreInvalidAndNotAskedAgain) {
  const std::string refusal = R"({"choices": [{"message": {"content": null, "refusal": "I will not grade this"}}]})";
  const std::string filter = R"({"error": {"code": "content_filter", "message": "filtered"}})";
  for (const auto& [status, body] : {std::pair(200, refusal), std::pair(400, filter)}) {
    const Server server([status = status, body = body](const Request&) { return Reply{status, body}; });
    for (int pass = 0; pass < 2; ++pass) {
      const Judgement judgement = make_judge(options_for(server))->judge({{"p", "c"}}).at(0);
      EXPECT_EQ(judgement.score, 0);
      EXPECT_THAT(judgement.reason, HasSubstr(status == 200 ? "refuses: I will not" : "content_filter"));
    }
    EXPECT_EQ(server.requests().size(), 1U);
  }
}

TEST_F(OpenAiJudgeTest, StopsWhenTheBudgetIsSpent) {
  const Server server([](const Request&) {
    return Reply{200, R"({"choices": [{"message": {"content": "{\"score\": 2}"}}], "usage": {"total_tokens": 100}})"};
  });
  JudgeOptions options = options_for(server);
  options.concurrency = 1;
  options.budget_tokens = 250;
  const std::vector<Exchange> exchanges = {{"p", "1"}, {"p", "2"}, {"p", "3"}, {"p", "4"}};
  for (int pass = 0; pass < 2; ++pass) {  // what a process before this one spent counts
    try {
      make_judge(options)->judge(exchanges);
      FAIL() << "no error";
    } catch (const runtime::Error& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("budget of 250 tokens"), HasSubstr("300 used"), HasSubstr("raise")));
    }
    EXPECT_EQ(server.requests().size(), 3U);
  }
  options.budget_tokens = 301;
  EXPECT_EQ(make_judge(options)->judge(exchanges).at(3).score, 2);
  EXPECT_EQ(server.requests().size(), 4U);
}

TEST_F(OpenAiJudgeTest, AWrongKeyIsAnErrorAtOnceAndNeverShown) {
  const Server server([&](const Request&) {
    return Reply{401, "{\"error\": \"Incorrect API key provided: " + key + "\"}"};
  });
  const std::string error = error_of(options_for(server));
  EXPECT_EQ(server.requests().size(), 1U);
  EXPECT_THAT(error, AllOf(HasSubstr("HTTP status 401"), HasSubstr(server.url()), HasSubstr("SUBSPECT_TEST_KEY"),
                           HasSubstr("<key>"), Not(HasSubstr(key))));
}

TEST_F(OpenAiJudgeTest, TheKeyIsNotInTheCache) {
  const Server server([](const Request&) { return completion("{\"score\": 1}"); });
  make_judge(options_for(server))->judge({{"p", "c"}});
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
    if (!entry.is_regular_file()) continue;
    ++files;
    EXPECT_THAT(runtime::io::read_file(entry.path()), Not(HasSubstr(key)));
  }
  EXPECT_EQ(files, 1);
}

TEST_F(OpenAiJudgeTest, AnEndpointThatKeepsFailingIsAnErrorWithItsAddress) {
  const Server server([](const Request&) { return Reply{500, "boom"}; });
  EXPECT_THAT(error_of(options_for(server)), AllOf(HasSubstr("failed 4 times"), HasSubstr("500: boom"),
                                                   HasSubstr(server.url()), HasSubstr("same command")));
  EXPECT_EQ(server.requests().size(), 4U);
}

TEST_F(OpenAiJudgeTest, ADeadEndpointIsAnError) {
  JudgeOptions options;
  {
    const Server server([](const Request&) { return Reply{}; });
    options = options_for(server);
  }
  options.max_attempts = 2;
  EXPECT_THAT(error_of(options),
              AllOf(HasSubstr("failed 2 times"), HasSubstr(options.base_url), HasSubstr("base_url")));
}

TEST_F(OpenAiJudgeTest, ASlowEndpointTimesOut) {
  std::atomic<bool> done = false;
  {
    const Server server([&](const Request&) {
      for (int i = 0; i < 4000 && !done; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      return completion("{\"score\": 1}");
    });
    JudgeOptions options = options_for(server);
    options.timeout_seconds = 0.2;
    options.max_attempts = 1;
    EXPECT_THAT(error_of(options), HasSubstr("imed out"));
    done = true;
  }
}

TEST_F(OpenAiJudgeTest, AnInterruptEndsTheWaiting) {
  const Server server([](const Request&) {
    runtime::set_interrupt_requested(true);
    return Reply{503, ""};
  });
  JudgeOptions options = options_for(server);
  options.first_delay_seconds = 30;
  EXPECT_THROW(make_judge(options)->judge({{"p", "c"}}), runtime::Interrupted);
}

TEST_F(OpenAiJudgeTest, MissingOptionsAreUsageErrors) {
  JudgeOptions options;
  options.kind = "openai";
  options.base_url = "ftp://x";
  options.model = "m";
  EXPECT_THROW(make_judge(options), runtime::UsageError);
  options.base_url = "https://x/v1/";
  options.model = "";
  EXPECT_THROW(make_judge(options), runtime::UsageError);
  options.model = "m";
  options.concurrency = 0;
  EXPECT_THROW(make_judge(options), runtime::UsageError);
}

}  // namespace
}  // namespace subspect::experiments
