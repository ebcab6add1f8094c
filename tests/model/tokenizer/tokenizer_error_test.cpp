// Damaged and unsupported tokenizer files, and inputs that cannot be encoded: each an Error that says what and where.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "model/tokenizer/tokenizer.h"
#include "runtime/error.h"
#include "tests/model/tokenizer/tokenizer_test_support.h"

namespace subspect::model {
namespace {

using nlohmann::json;
using testing::HasSubstr;

json small_tokenizer() {
  return json::parse(R"({
    "version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null,
    "decoder": {"type": "Fuse"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})");
}

Tokenizer parse(const json& root, const json& config = {}) {
  return Tokenizer::parse(root.dump(), config.is_null() ? "" : config.dump(), "DIR");
}

/// The message of the Error that `root` gives; empty when it gives none.
std::string error_of(const json& root, const json& config = {}) {
  try {
    parse(root, config);
  } catch (const runtime::Error& error) {
    return error.what();
  }
  return "";
}

TEST(TokenizerError, SmallTokenizerWorks) {
  const Tokenizer tokenizer = parse(small_tokenizer());
  EXPECT_EQ(tokenizer.encode("aab").ids, (std::vector<int32_t>{0, 2}));
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{0, 2}), "aab");
}

TEST(TokenizerError, TruncatedJson) {
  const std::string text = small_tokenizer().dump();
  for (const size_t length : {size_t{0}, size_t{1}, text.size() / 2, text.size() - 1}) {
    try {
      Tokenizer::parse(text.substr(0, length), "", "DIR");
      ADD_FAILURE() << length;
    } catch (const runtime::Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("not valid JSON"));
      EXPECT_THAT(error.where(), HasSubstr("DIR/tokenizer.json"));
    }
  }
}

TEST(TokenizerError, BadIds) {
  json root = small_tokenizer();
  root["model"]["vocab"]["b"] = 0;
  EXPECT_THAT(error_of(root), HasSubstr("token id 0 is given twice"));
  root["model"]["vocab"]["b"] = -1;
  EXPECT_THAT(error_of(root), HasSubstr("token id -1 is out of range"));
  root["model"]["vocab"]["b"] = 3000000000;
  EXPECT_THAT(error_of(root), HasSubstr("out of range"));
  root["model"]["vocab"]["b"] = 1.5;
  EXPECT_THAT(error_of(root), HasSubstr("whole number"));
  root["model"]["vocab"]["b"] = 18446744073709551615U;
  EXPECT_THAT(error_of(root), HasSubstr("out of range"));
  root = small_tokenizer();
  root["added_tokens"] = {{{"id", 1}, {"content", "<s>"}}};
  EXPECT_THAT(error_of(root), HasSubstr("token id 1 is given twice"));
  root["added_tokens"] = {{{"id", 7}, {"content", "b"}}};
  EXPECT_THAT(error_of(root), HasSubstr("has the ids 1 and 7"));
  root["added_tokens"] = {{{"id", -7}, {"content", "<s>"}}};
  EXPECT_THAT(error_of(root), HasSubstr("out of range"));
}

TEST(TokenizerError, BadMerges) {
  json root = small_tokenizer();
  root["model"]["merges"] = {"a c"};
  EXPECT_THAT(error_of(root), HasSubstr("merge 0 needs the token \"c\""));
  root["model"]["merges"] = json::array({json::array({"b", "a"})});
  EXPECT_THAT(error_of(root), HasSubstr("needs the token \"ba\""));
  for (const json& merge : {json("ab"), json("a b c"), json(3), json::array({"a"})}) {
    root["model"]["merges"] = json::array({merge});
    EXPECT_THAT(error_of(root), HasSubstr("not a pair of tokens")) << merge;
  }
}

TEST(TokenizerError, UnsupportedComponentsAreNamed) {
  const auto with = [](const char* part, const json& value) {
    json root = small_tokenizer();
    root[part] = value;
    return error_of(root);
  };
  EXPECT_THAT(with("normalizer", {{"type", "BertNormalizer"}}), HasSubstr("BertNormalizer (normalizer)"));
  EXPECT_THAT(with("pre_tokenizer", {{"type", "UnicodeScripts"}}), HasSubstr("UnicodeScripts (pre-tokenizer)"));
  EXPECT_THAT(with("post_processor", {{"type", "RobertaProcessing"}}), HasSubstr("RobertaProcessing (post-processor)"));
  EXPECT_THAT(with("decoder", {{"type", "CTC"}}), HasSubstr("CTC (decoder)"));
  EXPECT_THAT(with("model", {{"type", "Unigram"}, {"vocab", json::object()}}), HasSubstr("Unigram (model)"));
  EXPECT_THAT(with("normalizer", json::parse(R"({"type": "Sequence", "normalizers": [{"type": "Precompiled"}]})")),
              HasSubstr("tokenizer.json.normalizer.normalizers[0]"));
  json root = small_tokenizer();
  root["model"]["dropout"] = 0.1;
  EXPECT_THAT(error_of(root), HasSubstr("dropout of BPE"));
  root = small_tokenizer();
  root["model"]["end_of_word_suffix"] = "</w>";
  EXPECT_THAT(error_of(root), HasSubstr("end_of_word_suffix of BPE"));
}

TEST(TokenizerError, BadComponents) {
  json root = small_tokenizer();
  root["pre_tokenizer"] = json::parse(R"x({"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated"})x");
  EXPECT_THAT(error_of(root), HasSubstr("does not compile"));
  root["pre_tokenizer"] = json::parse(R"({"type": "Split", "pattern": {"Regex": "[a[b]]"}, "behavior": "Isolated"})");
  EXPECT_THAT(error_of(root), HasSubstr("nested character class"));
  root["pre_tokenizer"] = json::parse(R"({"type": "Split", "pattern": {"String": "x"}, "behavior": "Sideways"})");
  EXPECT_THAT(error_of(root), HasSubstr("Sideways"));
  root = small_tokenizer();
  root["post_processor"] = json::parse(R"({"type": "TemplateProcessing", "pair": [],
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [9], "tokens": ["<s>"]}}})");
  EXPECT_THAT(error_of(root), HasSubstr("token id 9 is not in the vocabulary"));
  root = small_tokenizer();
  root["model"]["unk_token"] = "<unk>";
  EXPECT_THAT(error_of(root), HasSubstr("unknown token \"<unk>\""));
  root["model"].erase("merges");
  EXPECT_THAT(error_of(root), HasSubstr("\"merges\" is missing"));
  root.erase("model");
  EXPECT_THAT(error_of(root), HasSubstr("\"model\" is missing"));
}

TEST(TokenizerError, TextThatIsNotUtf8) {
  const Tokenizer tokenizer = parse(small_tokenizer());
  const std::pair<std::string, int> cases[] = {{"ab\xFF", 2},           {"\x80", 0},          {"a\xC3", 1},
                                               {"\xC0\xAF", 0},         {"\xE0\x80\x80", 0},  {"a\xED\xA0\x80", 1},
                                               {"\xF4\x90\x80\x80", 0}, {"ab\xF0\x9F\xA6", 2}};
  for (const auto& [text, byte] : cases) {
    try {
      tokenizer.encode(text);
      ADD_FAILURE() << byte;
    } catch (const runtime::Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("not valid UTF-8 at byte " + std::to_string(byte)));
    }
  }
}

TEST(TokenizerError, IdsOutsideTheVocabulary) {
  const Tokenizer tokenizer = parse(small_tokenizer());
  for (const int32_t id : {3, -1, 1 << 30}) {
    EXPECT_THROW(tokenizer.decode(std::vector<int32_t>{0, id}), runtime::Error) << id;
    EXPECT_THROW(tokenizer.id_to_token(id), runtime::Error) << id;
  }
}

TEST(TokenizerError, MissingFile) {
  try {
    Tokenizer::load("/nonexistent/model");
    FAIL();
  } catch (const runtime::Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("no tokenizer.json"));
    EXPECT_EQ(error.where(), "/nonexistent/model");
  }
}

TEST(TokenizerError, WordOutsideAVocabularyWithoutUnknownToken) {
  json root = small_tokenizer();
  root["pre_tokenizer"] = {{"type", "WhitespaceSplit"}};
  root["model"] = {{"type", "WordLevel"}, {"unk_token", "<unk>"}, {"vocab", {{"a", 0}}}};
  const Tokenizer tokenizer = parse(root);
  EXPECT_EQ(tokenizer.encode("a a").ids, (std::vector<int32_t>{0, 0}));
  EXPECT_THROW(tokenizer.encode("a b"), runtime::Error);
}

TEST(TokenizerConfig, AddsTokensAndCleansUpWords) {
  json root = small_tokenizer();
  root["decoder"] = nullptr;
  root["pre_tokenizer"] = {{"type", "WhitespaceSplit"}};
  root["model"] = {{"type", "WordLevel"}, {"unk_token", "?"}, {"vocab", {{"do", 0}, {"n't", 1}, {".", 2}, {"?", 3}}}};
  json config = json::parse(R"({"clean_up_tokenization_spaces": true, "eos_token": {"content": "<e>"},
    "added_tokens_decoder": {"9": {"content": "<e>", "special": true}}, "chat_template": "{{ x }}"})");
  const Tokenizer tokenizer = parse(root, config);
  const auto ids = tokenizer.encode("do n't .<e>").ids;
  EXPECT_EQ(ids, (std::vector<int32_t>{0, 1, 2, 9}));
  EXPECT_EQ(tokenizer.decode(ids, true), "don't.");
  EXPECT_EQ(tokenizer.decode(ids, false), "don't. <e>");
  EXPECT_EQ(tokenizer.eos_id(), 9);
  EXPECT_EQ(tokenizer.vocab_size(), 10);
  EXPECT_EQ(tokenizer.chat_template(), "{{ x }}");
  config["clean_up_tokenization_spaces"] = false;
  EXPECT_EQ(parse(root, config).decode(ids, true), "do n't .");
}

TEST(TokenizerConfig, DoesNotCleanUpBpe) {
  json root = small_tokenizer();
  root["model"]["vocab"] = {{" ", 0}, {".", 1}};
  root["model"]["merges"] = json::array();
  const json config = {{"clean_up_tokenization_spaces", true}};
  EXPECT_EQ(parse(root, config).decode(std::vector<int32_t>{0, 1}), " .");
  const json forced = {{"clean_up_tokenization_spaces", true},
                       {"clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output", true}};
  EXPECT_EQ(parse(root, forced).decode(std::vector<int32_t>{0, 1}), ".");
}

TEST(TokenizerDecoder, StripsBothEnds) {
  json root = small_tokenizer();
  const std::vector<int32_t> ids = {0, 0, 1, 0, 0, 0};
  root["decoder"] = json::parse(R"({"type": "Sequence", "decoders": [{"type": "Fuse"},
    {"type": "Strip", "content": "a", "start": 1, "stop": 2}]})");
  EXPECT_EQ(parse(root).decode(ids), "aba");
  root["decoder"] = json::parse(R"({"type": "Strip", "content": "a", "start": 1, "stop": 0})");
  EXPECT_EQ(parse(root).decode(ids), "b");
}

}  // namespace
}  // namespace subspect::model
