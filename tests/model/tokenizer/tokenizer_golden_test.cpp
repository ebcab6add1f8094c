// Tokenizers against what Hugging Face `tokenizers`, llama.cpp and lm-evaluation-harness give.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "model/tokenizer/tokenizer.h"
#include "tests/model/tokenizer/tokenizer_test_support.h"

namespace subspect::model {
namespace {

using nlohmann::json;
using test::data;
using test::fixture;
using test::read_json;

class TokenizerGolden : public testing::TestWithParam<const char*> {};

TEST_P(TokenizerGolden, MatchesHuggingFace) {
  const json texts = read_json(fixture("tokenizers/texts.json"));
  const json golden = read_json(fixture("tokenizers") / GetParam() / "golden.json");
  const Tokenizer tokenizer = Tokenizer::load(fixture("tokenizers") / GetParam());
  ASSERT_EQ(golden.size(), texts.size());
  ASSERT_GT(texts.size(), 300U);
  for (size_t i = 0; i < texts.size(); ++i) {
    SCOPED_TRACE(texts[i].dump(-1, ' ', true));
    const auto text = texts[i].get<std::string>();
    const Encoding encoding = tokenizer.encode(text);
    const auto ids = golden[i][0].get<std::vector<int32_t>>();
    ASSERT_EQ(encoding.ids, ids);
    ASSERT_EQ(encoding.added.size(), ids.size());
    for (size_t k = 0; k < ids.size(); ++k) {
      EXPECT_EQ(encoding.offsets[k].begin, golden[i][1][k].get<int64_t>()) << "token " << k;
      EXPECT_EQ(encoding.offsets[k].end, golden[i][2][k].get<int64_t>()) << "token " << k;
    }
    const auto decoded = [&](size_t column) {
      return golden[i][column].is_null() ? text : golden[i][column].get<std::string>();
    };
    EXPECT_EQ(tokenizer.decode(ids, false), decoded(3));
    EXPECT_EQ(tokenizer.decode(ids, true), decoded(4));
  }
}

INSTANTIATE_TEST_SUITE_P(Families, TokenizerGolden,
                         testing::Values("qwen2", "llama3", "llama2", "mistral", "llama2_without_bytes", "gpt2",
                                         "metaspace", "words", "spaced_words", "splits"),
                         [](const auto& parameter) { return std::string(parameter.param); });

const Tokenizer& qwen() {
  static const Tokenizer tokenizer = Tokenizer::load(data("qwen2.5"));
  return tokenizer;
}

TEST(TokenizerQwen, MatchesLlamaCppVectors) {
  if (!std::filesystem::exists(data("qwen2.5/tokenizer.json"))) GTEST_SKIP() << "no " << data("qwen2.5");
  const std::string input = runtime::io::read_file(data("qwen2.5/vocab_tests.inp"));
  std::istringstream output(runtime::io::read_file(data("qwen2.5/vocab_tests.out")));
  const std::string separator = "\n__ggml_vocab_test__\n";
  int count = 0;
  size_t position = 0;
  for (std::string line; std::getline(output, line); ++count) {
    const size_t end = std::min(input.find(separator, position), input.size());
    const std::string text = input.substr(position, end - position);
    position = std::min(end + separator.size(), input.size());
    std::istringstream numbers(line);
    const std::vector<int32_t> ids{std::istream_iterator<int32_t>(numbers), {}};
    EXPECT_EQ(qwen().encode(text).ids, ids) << json(text).dump(-1, ' ', true);
    EXPECT_EQ(qwen().decode(ids), text);
  }
  EXPECT_EQ(count, 46);
}

TEST(TokenizerQwen, MatchesPromptsOfLmEvaluationHarness) {
  const auto path = data("gsm8k/lm_eval_1shot_first20.jsonl");
  if (!std::filesystem::exists(path) || !std::filesystem::exists(data("qwen2.5/tokenizer.json"))) {
    GTEST_SKIP() << "no " << path;
  }
  std::ifstream file(path);
  int count = 0;
  for (std::string line; std::getline(file, line); ++count) {
    const json row = json::parse(line);
    const auto ids = row["qwen2.5_ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(qwen().encode(row["prompt"].get<std::string>()).ids, ids) << count;
  }
  EXPECT_EQ(count, 20);
}

TEST(TokenizerQwen, KnowsItsSize) {
  if (!std::filesystem::exists(data("qwen2.5/tokenizer.json"))) GTEST_SKIP() << "no " << data("qwen2.5");
  EXPECT_EQ(qwen().vocab_size(), 151665);
  EXPECT_EQ(qwen().token_to_id("<|im_end|>"), 151645);
  EXPECT_EQ(qwen().id_to_token(220), "\xC4\xA0");
  EXPECT_TRUE(qwen().is_special(151643));
  EXPECT_FALSE(qwen().is_special(151657));  // <tool_call>
}

}  // namespace
}  // namespace subspect::model
