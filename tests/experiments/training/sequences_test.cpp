// Examples as token ids and targets: masks, shifts, truncation, counts, errors.
#include "experiments/training/sequences.h"

#include <gtest/gtest.h>

#include "runtime/error.h"
#include "tests/experiments/training/tiny_training.h"

namespace subspect::experiments {
namespace {

constexpr int32_t none = runtime::ops::ignored_target;
constexpr int32_t eos = 0;

class SequencesTest : public ::testing::Test {
 protected:
  TrainingData make(const std::vector<Example>& examples, const SequenceOptions& options = {}) {
    return make_sequences(tokenizer_, *format_, examples, options);
  }

 private:
  model::Tokenizer tokenizer_ = testing::tiny_tokenizer();
  // The response follows the prompt after a space.
  std::unique_ptr<model::PromptFormat> format_ =
      model::make_prompt_format("custom", {.system = {}, .custom_template = "{instruction} w9 {response}", .date = {}});
};

TEST_F(SequencesTest, OnlyTheResponseAndItsEosAreLearned) {
  const TrainingData data = make({{.prompt = "w1 w2", .response = "w3 w4", .source = "x", .index = 0}});
  ASSERT_EQ(data.sequences.size(), 1U);
  EXPECT_EQ(data.sequences[0].ids, (std::vector<int32_t>{1, 2, 9, 3, 4, eos}));
  // Position t predicts token t + 1; the EOS, the last token, predicts nothing.
  EXPECT_EQ(data.sequences[0].targets, (std::vector<int32_t>{none, none, 3, 4, eos, none}));
  EXPECT_EQ(data.sequences[0].predicted, 3);
  EXPECT_EQ(data.counts.tokens, 6);
  EXPECT_EQ(data.counts.predicted, 3);
}

TEST_F(SequencesTest, TextWithoutAPromptIsLearnedWhole) {
  const TrainingData data = make({{.prompt = "", .response = "w5 w6 w7", .source = "x", .index = 0}});
  ASSERT_EQ(data.sequences.size(), 1U);
  EXPECT_EQ(data.sequences[0].ids, (std::vector<int32_t>{5, 6, 7, eos}));
  EXPECT_EQ(data.sequences[0].targets, (std::vector<int32_t>{6, 7, eos, none}));
}

TEST(SequencesOfPromptsAlone, APromptThatIsNoPrefixIsMeasuredInItsOwnTokens) {
  // "ab" alone is one token; in "abc", "bc" is merged first and holds the prompt's last character.
  const auto tokenizer = model::Tokenizer::parse(
      R"({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [{"id": 0, "content": "<eos>",
      "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
      "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null, "model": {"type": "BPE",
      "vocab": {"<eos>": 0, "a": 1, "b": 2, "c": 3, "bc": 4, "ab": 5}, "merges": ["b c", "a b"]}})",
      testing::tiny_tokenizer_config(), "the test's tokenizer");
  const auto format =
      model::make_prompt_format("custom", {.system = {}, .custom_template = "{instruction}{response}", .date = {}});
  const std::vector<Example> example = {{.prompt = "ab", .response = "c", .source = "x", .index = 0}};
  const TrainingSequence right = make_sequences(tokenizer, *format, example, {}).sequences[0];
  EXPECT_EQ(right.ids, (std::vector<int32_t>{1, 4, eos}));
  EXPECT_EQ(right.targets, (std::vector<int32_t>{none, eos, none}));
  EXPECT_EQ(make_sequences(tokenizer, *format, example, {.prompt_length = true}).sequences[0].targets,
            (std::vector<int32_t>{4, eos, none}));
}

TEST_F(SequencesTest, TruncationKeepsTheEosAndIsCounted) {
  const TrainingData data = make({{.prompt = "w1", .response = "w2 w3 w4 w5", .source = "x", .index = 0},
                                  {.prompt = "w1", .response = "w2", .source = "x", .index = 1},
                                  {.prompt = "w1 w1 w1 w1", .response = "w2", .source = "x", .index = 2}},
                                 {.max_seq_length = 5});
  ASSERT_EQ(data.sequences.size(), 2U);
  EXPECT_EQ(data.sequences[0].ids, (std::vector<int32_t>{1, 9, 2, 3, eos}));
  EXPECT_EQ(data.sequences[0].targets, (std::vector<int32_t>{none, 2, 3, eos, none}));
  EXPECT_EQ(data.sequences[1].ids, (std::vector<int32_t>{1, 9, 2, eos}));
  EXPECT_EQ(data.counts.truncated, 1);
  EXPECT_EQ(data.counts.prompts_too_long, 1);
  EXPECT_EQ(data.counts.examples, 3);
  EXPECT_EQ(data.counts.sequences, 2);
}

TEST_F(SequencesTest, AnExactFitIsNotTruncated) {
  const TrainingData data =
      make({{.prompt = "w1", .response = "w2", .source = "x", .index = 0}}, {.max_seq_length = 4});
  EXPECT_EQ(data.counts.truncated, 0);
  EXPECT_EQ(data.sequences[0].ids.size(), 4U);
}

TEST(SequencesWithoutEos, TheModelNamesTheEos) {
  const auto tokenizer = model::Tokenizer::parse(testing::tiny_tokenizer_json(), "", "a tokenizer without EOS");
  const auto raw = model::make_prompt_format("raw");
  const std::vector<Example> text = {{.prompt = "", .response = "w5", .source = "x", .index = 0}};
  EXPECT_THROW(make_sequences(tokenizer, *raw, text, {}), runtime::Error);
  EXPECT_EQ(make_sequences(tokenizer, *raw, text, {.eos_id = 17}).sequences[0].ids, (std::vector<int32_t>{5, 17}));
}

TEST_F(SequencesTest, ThreadsDoNotChangeTheResult) {
  std::vector<Example> examples;
  for (int i = 0; i < 200; ++i) {
    examples.push_back({.prompt = fmt::format("w{}", 1 + i % 30),
                        .response = fmt::format("w{} w2", 1 + i % 7),
                        .source = "x",
                        .index = i});
  }
  const uint64_t one = make(examples, {.threads = 1}).fingerprint();
  EXPECT_EQ(make(examples, {.threads = 4}).fingerprint(), one);
  std::swap(examples[3], examples[4]);
  EXPECT_NE(make(examples, {.threads = 4}).fingerprint(), one);
}

TEST_F(SequencesTest, ErrorsNameTheExample) {
  const std::vector<Example> invalid = {{.prompt = "w1", .response = "w2", .source = "a.jsonl", .index = 0},
                                        {.prompt = "w1", .response = "w2 \xff", .source = "a.jsonl", .index = 1}};
  try {
    make(invalid);
    FAIL() << "invalid UTF-8 was accepted";
  } catch (const runtime::Error& error) {
    EXPECT_EQ(error.where(), "a.jsonl, example 1");
  }
  try {
    make({{.prompt = "w1", .response = "w38", .source = "a.jsonl", .index = 7}}, {.vocab_size = 38});
    FAIL() << "an id beyond the vocabulary was accepted";
  } catch (const runtime::Error& error) {
    EXPECT_EQ(error.where(), "a.jsonl, example 7");
  }
}

}  // namespace
}  // namespace subspect::experiments
