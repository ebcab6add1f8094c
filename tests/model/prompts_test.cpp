// Prompt formats against Transformers' apply_chat_template, and labels from offsets.
#include "model/prompts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "runtime/error.h"
#include "tests/model/tokenizer/tokenizer_test_support.h"

namespace subspect::model {
namespace {

using nlohmann::json;
using test::fixture;
using test::read_json;

PromptFields fields_of(const json& row) {
  PromptFields fields;
  fields.instruction = row["instruction"].get<std::string>();
  fields.response = row["response"].get<std::string>();
  if (row.contains("system")) fields.system = row["system"].get<std::string>();
  return fields;
}

TEST(PromptFormats, MatchApplyChatTemplate) {
  const json golden = read_json(fixture("prompts/golden.json"));
  ASSERT_EQ(golden.size(), 20U);
  for (const json& row : golden) {
    SCOPED_TRACE(row["case"].get<std::string>() + ": " + row["instruction"].get<std::string>());
    const Tokenizer tokenizer = Tokenizer::load(fixture("tokenizers") / row["tokenizer"].get<std::string>());
    PromptFormatOptions options;
    options.date = row.value("date", "");
    const auto format = make_prompt_format(row["format"].get<std::string>(), options);
    const PromptFields fields = fields_of(row);
    EXPECT_EQ(format->render_prompt(fields), row["prompt"]);
    EXPECT_EQ(encode_prompt(tokenizer, *format, format->render_prompt(fields)).ids,
              row["prompt_ids"].get<std::vector<int32_t>>());
    // The conversation goes on with the end token and, in ChatML, a newline.
    const std::string end = tokenizer.id_to_token(end_id(tokenizer, *format));
    const std::string tail = row["format"] == "chatml" ? "\n" : "";
    EXPECT_EQ(format->render(fields).text + end + tail, row["conversation"]);
  }
}

TEST(PromptFormats, AlpacaIsStanfords) {
  const auto format = make_prompt_format("alpaca");
  const PromptFields fields{"Add 2 and 3.", "5", std::nullopt};
  const std::string prompt =
      "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
      "### Instruction:\nAdd 2 and 3.\n\n### Response:";
  EXPECT_EQ(format->render_prompt(fields), prompt);
  EXPECT_EQ(format->render(fields).text, prompt + " 5");
  EXPECT_EQ(format->render({"Add 2 and 3.", "\n5", ""}).text, "### Instruction:\nAdd 2 and 3.\n\n### Response:\n5");
  EXPECT_EQ(format->render({"x", "", std::nullopt}).text, format->render_prompt({"x", "", std::nullopt}));
  EXPECT_EQ(format->end_token(), "");
}

TEST(PromptFormats, AlpacaPromptIsAPrefixOfTheJointIds) {
  const auto format = make_prompt_format("alpaca");
  for (const char* name : {"qwen2", "llama3", "llama2"}) {
    const Tokenizer tokenizer = Tokenizer::load(fixture("tokenizers") / name);
    const PromptFields fields{"How many clips did Natalia sell?", "Natalia sold 48 clips.", std::nullopt};
    const auto prompt = encode_prompt(tokenizer, *format, format->render_prompt(fields)).ids;
    const RenderedPrompt rendered = format->render(fields);
    const Encoding joint = encode_prompt(tokenizer, *format, rendered.text);
    const auto mask = response_mask(joint, rendered.response_code_point);
    EXPECT_TRUE(std::equal(prompt.begin(), prompt.end(), joint.ids.begin())) << name;
    EXPECT_EQ(std::accumulate(mask.begin(), mask.end(), size_t{0}), joint.ids.size() - prompt.size()) << name;
  }
}

TEST(PromptFormats, RawIsTheText) {
  const auto format = make_prompt_format("raw");
  const RenderedPrompt rendered = format->render({"Größe: ", "北京", std::nullopt});
  EXPECT_EQ(rendered.text, "Größe: 北京");
  EXPECT_EQ(rendered.response_byte, 9);
  EXPECT_EQ(rendered.response_code_point, 7);
}

TEST(PromptFormats, SystemOfTheExampleWinsOverTheOption) {
  PromptFormatOptions options;
  options.system = "S";
  const auto format = make_prompt_format("chatml", options);
  EXPECT_THAT(format->render_prompt({"x", "", std::nullopt}), testing::StartsWith("<|im_start|>system\nS<|im_end|>"));
  EXPECT_THAT(format->render_prompt({"x", "", "T"}), testing::StartsWith("<|im_start|>system\nT<|im_end|>"));
  EXPECT_THAT(format->render_prompt({"x", "", ""}), testing::StartsWith("<|im_start|>user\nx<|im_end|>"));
}

TEST(PromptFormats, CustomTemplates) {
  PromptFormatOptions options;
  options.custom_template = "{system}|{{Q}} {instruction} A: {response} END";
  const auto format = make_prompt_format("custom", options);
  const RenderedPrompt rendered = format->render({"{1+1}", "2", "S"});
  EXPECT_EQ(rendered.text, "S|{Q} {1+1} A: 2 END");
  EXPECT_EQ(rendered.text.substr(static_cast<size_t>(rendered.response_byte)), "2 END");
  options.custom_template = "Q {instruction}\n";
  EXPECT_EQ(make_prompt_format("custom", options)->render({"x", "y", std::nullopt}).text, "Q x\ny");
}

TEST(PromptFormats, BadCustomTemplates) {
  const std::pair<const char*, const char*> cases[] = {{"", "empty"},
                                                       {"{instruction} {answer}", "unknown field {answer}"},
                                                       {"{instruction", "no partner"},
                                                       {"{instruction}}", "no partner"},
                                                       {"{response}", "{instruction} is missing"},
                                                       {"{instruction}{response}{system}", "behind {response}"}};
  for (const auto& [pattern, message] : cases) {
    PromptFormatOptions options;
    options.custom_template = pattern;
    try {
      make_prompt_format("custom", options);
      ADD_FAILURE() << pattern;
    } catch (const runtime::UsageError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(message));
    }
  }
}

TEST(PromptFormats, UnknownNamesSuggestTheNearest) {
  try {
    make_prompt_format("alpacca");
    FAIL();
  } catch (const runtime::UsageError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("did you mean \"alpaca\"?"));
  }
  EXPECT_EQ(prompt_formats().size(), 6U);
}

TEST(PromptEncoding, HasExactlyOneBos) {
  const PromptFields fields{"Hi", "Hello", std::nullopt};
  for (const auto& [name, folder] : {std::pair{"llama3", "llama3"},
                                     {"llama2", "llama2"},
                                     {"alpaca", "llama3"},
                                     {"alpaca", "llama2"},
                                     {"raw", "mistral"},
                                     {"chatml", "llama3"}}) {
    const Tokenizer tokenizer = Tokenizer::load(fixture("tokenizers") / folder);
    const auto format = make_prompt_format(name);
    const auto ids = encode_prompt(tokenizer, *format, format->render(fields).text).ids;
    EXPECT_EQ(ids.front(), *tokenizer.bos_id()) << name << " " << folder;
    EXPECT_EQ(std::count(ids.begin(), ids.end(), *tokenizer.bos_id()), 1) << name << " " << folder;
  }
}

TEST(PromptEncoding, LeavesTheTokenizersEosOut) {
  const Tokenizer tokenizer = Tokenizer::load(fixture("tokenizers/metaspace"));  // <s> text </s>
  const auto format = make_prompt_format("raw");
  for (const char* text : {"", "Hello"}) {
    const Encoding encoding = encode_prompt(tokenizer, *format, text);
    EXPECT_EQ(encoding.ids.front(), *tokenizer.bos_id());
    EXPECT_EQ(std::count(encoding.ids.begin(), encoding.ids.end(), *tokenizer.eos_id()), 0);
    EXPECT_EQ(encoding.ids.size(), encoding.offsets.size());
    EXPECT_EQ(encoding.ids.size(), encoding.added.size());
  }
}

TEST(PromptEncoding, NeedsTheTokensOfTheFormat) {
  const Tokenizer qwen = Tokenizer::load(fixture("tokenizers/qwen2"));
  EXPECT_THROW(encode_prompt(qwen, *make_prompt_format("llama3"), "x"), runtime::Error);
  EXPECT_THROW(end_id(qwen, *make_prompt_format("llama3")), runtime::Error);
  EXPECT_EQ(end_id(qwen, *make_prompt_format("chatml")), *qwen.token_to_id("<|im_end|>"));
  EXPECT_EQ(end_id(qwen, *make_prompt_format("alpaca")), *qwen.eos_id());
  const Tokenizer splits = Tokenizer::load(fixture("tokenizers/splits"));  // names no EOS
  EXPECT_THROW(end_id(splits, *make_prompt_format("raw")), runtime::Error);
}

TEST(ResponseMask, StraddlingAndAddedTokensAreNotLearned) {
  Encoding encoding;
  encoding.ids = {1, 2, 3, 4, 5, 6};
  encoding.offsets = {{0, 0}, {0, 3}, {3, 6}, {5, 7}, {7, 8}, {0, 0}};
  encoding.added = {1, 0, 0, 0, 0, 1};
  EXPECT_EQ(response_mask(encoding, 5), (std::vector<uint8_t>{0, 0, 0, 1, 1, 0}));
  EXPECT_EQ(response_mask(encoding, 4), (std::vector<uint8_t>{0, 0, 0, 1, 1, 0}));
  EXPECT_EQ(response_mask(encoding, 0), (std::vector<uint8_t>{0, 1, 1, 1, 1, 0}));
  EXPECT_EQ(response_mask(encoding, 8), (std::vector<uint8_t>(6, 0)));
}

}  // namespace
}  // namespace subspect::model
