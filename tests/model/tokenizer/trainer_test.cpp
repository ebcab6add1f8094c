// The BPE trainer against Hugging Face's, and what it writes read back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/trainer.h"
#include "runtime/error.h"
#include "tests/model/tokenizer/tokenizer_test_support.h"

namespace subspect::model {
namespace {

using nlohmann::json;
using test::fixture;
using test::read_json;

std::vector<std::string> texts() {
  return read_json(fixture("tokenizers/texts.json")).get<std::vector<std::string>>();
}

TEST(BpeTrainer, LearnsWhatHuggingFaceLearns) {
  BpeTrainerOptions options;
  options.vocab_size = 700;
  options.special_tokens = {"<|endoftext|>", "<pad>"};
  options.pad_token = "<pad>";
  const TrainedTokenizer trained = train_bpe(texts(), options);
  const json golden = read_json(fixture("tokenizers/bpe_training.json"));
  const json model = json::parse(trained.tokenizer_json)["model"];
  EXPECT_EQ(model["merges"], golden["merges"]);
  ASSERT_EQ(model["vocab"].size(), golden["tokens"].size());
  for (size_t id = 0; id < golden["tokens"].size(); ++id) {
    EXPECT_EQ(model["vocab"][golden["tokens"][id].get<std::string>()], id);
  }
  EXPECT_EQ(trained.vocab_size, 700);
}

TEST(BpeTrainer, WritesWhatTokenizerReads) {
  BpeTrainerOptions options;
  options.vocab_size = 400;
  options.bos_token = "<s>";
  options.chat_template = "{{ messages }}";
  const TrainedTokenizer trained = train_bpe(texts(), options);
  const auto folder = std::filesystem::temp_directory_path() / "subspect_bpe_trainer_test";
  std::filesystem::remove_all(folder);
  save_tokenizer(trained, folder);
  const Tokenizer tokenizer = Tokenizer::load(folder);
  EXPECT_EQ(tokenizer.vocab_size(), 400);
  EXPECT_EQ(tokenizer.bos_id(), 1);
  EXPECT_EQ(tokenizer.eos_id(), 0);
  EXPECT_EQ(tokenizer.pad_id(), 0);
  EXPECT_EQ(tokenizer.prefix_ids(), std::vector<int32_t>{1});
  EXPECT_EQ(tokenizer.chat_template(), "{{ messages }}");
  for (const std::string& text : texts()) {
    const auto ids = tokenizer.encode(text).ids;
    if (text.find("<s>") == std::string::npos && text.find("<|endoftext|>") == std::string::npos) {
      EXPECT_EQ(tokenizer.decode(ids, true), text);
    }
  }
  std::filesystem::remove_all(folder);
}

TEST(BpeTrainer, IsDeterministic) {
  BpeTrainerOptions options;
  options.vocab_size = 500;
  EXPECT_EQ(train_bpe(texts(), options).tokenizer_json, train_bpe(texts(), options).tokenizer_json);
}

TEST(BpeTrainer, StopsWhenNothingIsLeftToMerge) {
  BpeTrainerOptions options;
  options.split_regex = "";
  const TrainedTokenizer trained = train_bpe({"abab", "abab"}, options);
  // ab (4 times), abab (2 times)
  EXPECT_EQ(trained.vocab_size, 259);
  EXPECT_EQ(json::parse(trained.tokenizer_json)["model"]["merges"], json::parse(R"([["a", "b"], ["ab", "ab"]])"));
}

TEST(BpeTrainer, RespectsTheMinimumFrequency) {
  BpeTrainerOptions options;
  options.min_frequency = 3;
  const TrainedTokenizer trained = train_bpe({"ab ab ab", "cd cd"}, options);
  const json merges = json::parse(trained.tokenizer_json)["model"]["merges"];
  EXPECT_EQ(merges, json::parse(R"([["a", "b"]])"));
}

TEST(BpeTrainer, AcceptsNoText) {
  const TrainedTokenizer trained = train_bpe(std::vector<std::string>{}, {});
  EXPECT_EQ(trained.vocab_size, 257);
  const Tokenizer tokenizer = Tokenizer::parse(trained.tokenizer_json, trained.tokenizer_config, "memory");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("any text").ids), "any text");
}

TEST(BpeTrainer, RefusesWhatCannotBe) {
  BpeTrainerOptions options;
  options.vocab_size = 256;
  EXPECT_THROW(train_bpe(texts(), options), runtime::UsageError);
  try {
    train_bpe({"fine", "not \xFF"}, {});
    FAIL();
  } catch (const runtime::Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("text 1 is not valid UTF-8 at byte 4"));
  }
}

}  // namespace
}  // namespace subspect::model
