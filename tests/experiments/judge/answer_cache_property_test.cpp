// The cache of a judge's answers is a map, whatever the texts, and is still one after it was closed and opened again.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "experiments/judge/answer_cache.h"
#include "tests/model/model_fixtures.h"

namespace subspect::experiments {
namespace {

TEST(AnswerCacheProperty, IsAMap) {
  int round = 0;
  const model::testing::TemporaryDirectory temporary;
  EXPECT_TRUE(rc::check([&] {
    const auto folder = temporary.path() / std::to_string(round++);
    std::map<std::string, std::pair<std::string, int64_t>> expected;
    using Entries = std::vector<std::pair<std::string, std::string>>;
    const auto text = rc::gen::string<std::string>();
    // Each is written to the disk: a few will do.
    const auto entries =
        *rc::gen::resize(12, rc::gen::container<Entries>(rc::gen::pair(text, text))).as("questions and answers");
    int64_t tokens = 0;
    std::optional<AnswerCache> cache(folder);
    for (const auto& [question, answer] : entries) {
      const auto before = expected.find(question);
      RC_ASSERT(cache->find(question) ==
                (before == expected.end() ? std::nullopt : std::optional(before->second.first)));
      cache->store(question, answer, ++tokens);
      expected[question] = {answer, tokens};
    }
    cache.reset();
    cache.emplace(folder);
    int64_t spent = 0;
    for (const auto& [question, answer] : expected) {
      RC_ASSERT(cache->find(question) == answer.first);
      spent += answer.second;
    }
    RC_ASSERT(cache->tokens() == spent);
  }));
}

}  // namespace
}  // namespace subspect::experiments
