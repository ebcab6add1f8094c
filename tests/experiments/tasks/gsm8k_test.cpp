// GSM8K as lm-evaluation-harness scores it: draws, all prompts by hash, filters, accuracies.
#include "experiments/tasks/gsm8k.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "runtime/io/files.h"
#include "runtime/io/hash.h"

namespace subspect::experiments {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

json read_json(const fs::path& file) {
  return json::parse(runtime::io::read_file(file));
}

json python_random_golden() {
  return read_json(fs::path(SUBSPECT_SOURCE_DIR) / "tests/fixtures/tasks/python_random.json");
}

uint64_t seed_of(const json& item) {
  return std::stoull(item["seed"].get<std::string>());
}

TEST(PythonRandomTest, SamplesAsPython) {
  const json golden = python_random_golden();
  for (const json& item : golden["samples"]) {
    PythonRandom random(seed_of(item));
    for (const json& drawn : item["drawn"]) {
      EXPECT_EQ(random.sample(item["count"], item["size"]), drawn.get<std::vector<int64_t>>()) << item;
    }
  }
}

TEST(PythonRandomTest, DrawsBitsAsPython) {
  const json golden = python_random_golden();
  for (const json& item : golden["bits"]) {
    PythonRandom random(seed_of(item));
    size_t index = 0;
    for (const json& value : item["values"]) {
      const int bits = std::array{1, 5, 31, 32, 33, 64}[index++ % 6];
      EXPECT_EQ(std::to_string(random.getrandbits(bits)), value.get<std::string>()) << item["seed"] << " " << index;
    }
  }
  for (const json& item : golden["last_of_2000_words"]) {
    PythonRandom random(seed_of(item));
    uint32_t last = 0;
    for (int i = 0; i < 2000; ++i) last = random.next_u32();
    EXPECT_EQ(last, item["value"].get<uint32_t>());
  }
}

TEST(PythonRandomTest, RefusesWhatPythonRefuses) {
  PythonRandom random(1);
  EXPECT_THROW(random.sample(3, 4), runtime::Error);
  EXPECT_THROW(random.sample(3, -1), runtime::Error);
  EXPECT_THROW(random.getrandbits(65), runtime::Error);
  EXPECT_THROW(random.below(0), runtime::Error);
}

TEST(Gsm8kTest, FirstShotsWithoutData) {
  const auto shots = gsm8k_shots(7473, 10, {});
  std::vector<int64_t> first;
  for (const auto& drawn : shots) first.push_back(drawn.at(0));
  EXPECT_THAT(first, ElementsAre(6374, 3610, 957, 61, 742, 7462, 6610, 4769, 286, 5501));
}

class Gsm8kDataTest : public testing::Test {
 protected:
  void SetUp() override {
    const char* data = std::getenv("SUBSPECT_DATA");
    folder_ = data != nullptr ? fs::path(data) : fs::path(SUBSPECT_SOURCE_DIR) / ".." / "shared" / "data";
    folder_ /= "gsm8k";
    if (!fs::exists(folder_ / "test.jsonl")) GTEST_SKIP() << "needs GSM8K in " << folder_;
  }

  fs::path folder_;
};

TEST_F(Gsm8kDataTest, AllDrawsOfTheHarness) {
  json golden = read_json(folder_ / "lm_eval_1shot_train_idx_seed1234.json");
  if (golden.is_object()) golden = golden.front();
  const auto expected = golden.get<std::vector<int64_t>>();
  ASSERT_EQ(expected.size(), 1319U);
  const auto shots = gsm8k_shots(7473, 1319, {});
  for (size_t row = 0; row < expected.size(); ++row) EXPECT_THAT(shots[row], ElementsAre(expected[row])) << row;
}

TEST_F(Gsm8kDataTest, AllPromptsByHash) {
  const auto prompts = gsm8k_prompts(read_gsm8k(folder_ / "train.jsonl"), read_gsm8k(folder_ / "test.jsonl"));
  ASSERT_EQ(prompts.size(), 1319U);
  std::string joined;
  for (const std::string& prompt : prompts) {
    if (!joined.empty()) joined += '\0';
    joined += prompt;
  }
  EXPECT_EQ(runtime::io::sha256(joined), "614217df57442b3d68eb2c5f1ae625a2baeb3faa9abe237e2355fad0f7b78990");
}

TEST_F(Gsm8kDataTest, FirstPromptsWordForWordUnderALimit) {
  const auto prompts =
      gsm8k_prompts(read_gsm8k(folder_ / "train.jsonl"), read_gsm8k(folder_ / "test.jsonl"), {.limit = 20});
  ASSERT_EQ(prompts.size(), 20U);
  std::ifstream golden(folder_ / "lm_eval_1shot_first20.jsonl");
  std::string line;
  size_t row = 0;
  for (; std::getline(golden, line); ++row) EXPECT_EQ(prompts.at(row), json::parse(line)["prompt"].get<std::string>());
  EXPECT_EQ(row, 20U);
}

TEST_F(Gsm8kDataTest, FiltersOfTheHarness) {
  const json golden = read_json(folder_ / "filter_golden.json");
  ASSERT_GT(golden.size(), 5U);
  for (const json& item : golden) {
    const auto text = item["text"].get<std::string>();
    EXPECT_EQ(gsm8k_strict_match(text), item["strict"].get<std::string>()) << text;
    EXPECT_EQ(gsm8k_flexible_extract(text), item["flex"].get<std::string>()) << text;
    EXPECT_EQ(gsm8k_normalise(gsm8k_strict_match(text)), item["strict_norm"].get<std::string>()) << text;
    EXPECT_EQ(gsm8k_normalise(gsm8k_flexible_extract(text)), item["flex_norm"].get<std::string>()) << text;
  }
}

TEST(Gsm8kTest, PromptsWithAnyNumberOfShots) {
  const std::vector<Gsm8kRow> train = {{"q0", "a0"}};
  const std::vector<Gsm8kRow> test = {{"x", "1"}, {"y", "2"}};
  EXPECT_THAT(gsm8k_prompts(train, test), ElementsAre("Question: q0\nAnswer: a0\n\nQuestion: x\nAnswer:",
                                                      "Question: q0\nAnswer: a0\n\nQuestion: y\nAnswer:"));
  EXPECT_THAT(gsm8k_prompts({}, test, {.shots = 0}), ElementsAre("Question: x\nAnswer:", "Question: y\nAnswer:"));
  EXPECT_THAT(gsm8k_prompts({{"p", "1"}, {"q", "2"}}, {{"x", ""}}, {.shots = 2}).at(0),
              testing::AllOf(HasSubstr("Question: p\nAnswer: 1\n\n"), HasSubstr("Question: q\nAnswer: 2\n\n")));
  EXPECT_THROW(gsm8k_prompts(train, test, {.shots = 2}), runtime::Error);
}

TEST(Gsm8kTest, StrictMatchTakesTheFirst) {
  EXPECT_EQ(gsm8k_strict_match("#### 1\n#### 2"), "1");
  EXPECT_EQ(gsm8k_strict_match("#### -1,234.5."), "-1,234.5.");
  EXPECT_EQ(gsm8k_strict_match("####5"), "[invalid]");
  EXPECT_EQ(gsm8k_strict_match("#### $5 #### 7"), "7");
  EXPECT_EQ(gsm8k_strict_match("##### -"), "[invalid]");
  EXPECT_EQ(gsm8k_strict_match("######## 3"), "3");
  EXPECT_EQ(gsm8k_strict_match(""), "[invalid]");
}

TEST(Gsm8kTest, FlexibleExtractTakesTheLast) {
  EXPECT_EQ(gsm8k_flexible_extract("1 and 2"), "2");
  EXPECT_EQ(gsm8k_flexible_extract("it is $18."), "$18.");
  EXPECT_EQ(gsm8k_flexible_extract("7."), "7.");
  EXPECT_EQ(gsm8k_flexible_extract("a 7 . b"), "7");
  EXPECT_EQ(gsm8k_flexible_extract("5-3"), "-3");
  EXPECT_EQ(gsm8k_flexible_extract("--12"), "-12");
  EXPECT_EQ(gsm8k_flexible_extract("3 ..."), "...");
  EXPECT_EQ(gsm8k_flexible_extract("$"), "[invalid]");
  EXPECT_EQ(gsm8k_flexible_extract("none"), "[invalid]");
}

TEST(Gsm8kTest, NormalisesBothSides) {
  EXPECT_EQ(gsm8k_normalise("So $5,000.\n#### $1,234."), "1234");
  EXPECT_EQ(gsm8k_normalise("a #### 1 #### 2"), "2");
  EXPECT_EQ(gsm8k_normalise("5..\n"), "5.\n");
  EXPECT_EQ(gsm8k_normalise("ABC"), "abc");
  EXPECT_EQ(gsm8k_normalise("."), "");
  EXPECT_EQ(gsm8k_normalise(""), "");
}

TEST(Gsm8kTest, Scores) {
  const std::string gold = "She has 2 + 3 = 5 apples.\n#### 5";
  const auto right = score_gsm8k(" so 5.\n#### 5", gold);
  EXPECT_TRUE(right.strict_correct && right.flexible_correct);
  const auto loose = score_gsm8k(" the answer is $5.", gold);
  EXPECT_FALSE(loose.strict_correct);
  EXPECT_TRUE(loose.flexible_correct);
  EXPECT_EQ(loose.strict, "[invalid]");
  const auto wrong = score_gsm8k("#### 6", gold);
  EXPECT_FALSE(wrong.strict_correct || wrong.flexible_correct);
  // lm-eval compares text: 5.0 is not 5.
  EXPECT_FALSE(score_gsm8k("#### 5.0", gold).strict_correct);
}

TEST(Gsm8kTest, CutsAtTheFirstOfEachStop) {
  EXPECT_EQ(cut_at_stops(" 5\n\nQuestion: more</s>", gsm8k_stops()), " 5\n\n");
  EXPECT_EQ(cut_at_stops("a</s>Question:", gsm8k_stops()), "a");
  EXPECT_EQ(cut_at_stops("nothing", {"", "x"}), "nothing");
}

TEST(Gsm8kTest, ProportionsHaveTheHarnessStandardError) {
  const Proportion quarter = proportion(25, 100);
  EXPECT_DOUBLE_EQ(quarter.value, 0.25);
  EXPECT_DOUBLE_EQ(quarter.standard_error, std::sqrt(0.25 * 0.75 / 99));
  EXPECT_TRUE(std::isnan(proportion(0, 0).value));
  EXPECT_TRUE(std::isnan(proportion(1, 1).standard_error));
  EXPECT_EQ(proportion(0, 7).standard_error, 0);
}

TEST(Gsm8kTest, RowsThatLackAFieldAreNamed) {
  const fs::path file = fs::path(testing::TempDir()) / ("subspect-" + std::to_string(::getpid()) + "-gsm8k.jsonl");
  std::ofstream(file) << "{\"question\": \"q\", \"answer\": \"a\"}\n{\"question\": \"q\"}\n";
  try {
    read_gsm8k(file);
    FAIL() << "no error";
  } catch (const runtime::Error& error) {
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("no field 'answer'"), HasSubstr("-gsm8k.jsonl:2")));
  }
  std::ofstream(file, std::ios::trunc) << "\n";
  EXPECT_THROW(read_gsm8k(file), runtime::Error);
  fs::remove(file);
}

}  // namespace
}  // namespace subspect::experiments
