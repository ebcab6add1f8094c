// What holds for every text: round trips, offsets, streams that equal whole decodings, independence of threads.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <thread>

#include "model/tokenizer/bpe.h"
#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/unicode.h"
#include "tests/model/tokenizer/tokenizer_test_support.h"

namespace subspect::model {
namespace {

using test::fixture;

Tokenizer load(const char* name) {
  return Tokenizer::load(fixture("tokenizers") / name);
}

/// Random text that is rich in what tokenizers treat specially.
rc::Gen<std::string> arbitrary_text() {
  const auto code_point = rc::gen::weightedOneOf<char32_t>(
      {{8, rc::gen::cast<char32_t>(rc::gen::inRange<uint32_t>(0x20, 0x7F))},
       {2, rc::gen::elementOf(std::u32string(U"\n\r\t \u00A0\u3000\u2581'0123456789"))},
       {2, rc::gen::cast<char32_t>(rc::gen::inRange<uint32_t>(0x300, 0x370))},
       {2, rc::gen::cast<char32_t>(rc::gen::inRange<uint32_t>(0x80, 0xD800))},
       {1, rc::gen::cast<char32_t>(rc::gen::inRange<uint32_t>(0xE000, 0x110000))},
       {1, rc::gen::cast<char32_t>(rc::gen::inRange<uint32_t>(0x1F300, 0x1F700))}});
  return rc::gen::map(rc::gen::container<std::vector<char32_t>>(code_point), [](const std::vector<char32_t>& all) {
    std::string text;
    for (const char32_t c : all) tokenizer::append_utf8(text, c);
    return text;
  });
}

TEST(TokenizerProperty, ByteLevelRoundTripsAnyText) {
  const Tokenizer tokenizer = load("llama3");  // no normalizer
  EXPECT_TRUE(rc::check([&] {
    const std::string text = *arbitrary_text();
    RC_ASSERT(tokenizer.decode(tokenizer.encode(text).ids, true) == text);
  }));
}

TEST(TokenizerProperty, ByteFallbackRoundTripsAnyText) {
  const Tokenizer tokenizer = load("llama2");
  EXPECT_TRUE(rc::check([&] {
    const std::string text = *arbitrary_text();
    std::string expected = text;  // U+2581 is how this family writes a space
    for (size_t at = expected.find("\xE2\x96\x81"); at != std::string::npos; at = expected.find("\xE2\x96\x81")) {
      expected.replace(at, 3, " ");
    }
    RC_ASSERT(tokenizer.decode(tokenizer.encode(text).ids, true) == expected);
  }));
}

TEST(TokenizerProperty, OffsetsOfByteLevelTokensCoverTheText) {
  const Tokenizer tokenizer = load("llama3");
  EXPECT_TRUE(rc::check([&] {
    const std::string text = *arbitrary_text();
    const Encoding encoding = tokenizer.encode(text, false);
    int64_t reached = 0;
    for (const TextSpan& span : encoding.offsets) {
      RC_ASSERT(span.begin < span.end);
      RC_ASSERT(span.begin == reached || span.begin == reached - 1);  // a character may be several tokens
      reached = span.end;
    }
    RC_ASSERT(reached == tokenizer::count_code_points(text));
  }));
}

TEST(TokenizerProperty, StreamEqualsWholeDecoding) {
  for (const char* name : {"qwen2", "llama2", "mistral", "metaspace", "spaced_words", "splits", "gpt2"}) {
    SCOPED_TRACE(name);
    const Tokenizer tokenizer = load(name);
    EXPECT_TRUE(rc::check([&] {
      const auto size = static_cast<int32_t>(tokenizer.vocab_size());
      const auto ids = *rc::gen::container<std::vector<int32_t>>(rc::gen::inRange<int32_t>(0, size));
      for (const bool skip : {false, true}) {
        StreamDecoder stream(tokenizer, skip);
        std::string joined;
        for (const int32_t id : ids) {
          const std::string piece = stream.push(id);
          RC_ASSERT(!tokenizer::find_invalid_utf8(piece));
          joined += piece;
        }
        joined += stream.finish();
        RC_ASSERT(joined == tokenizer.decode(ids, skip));
      }
    }));
  }
}

TEST(TokenizerProperty, LongTextsTakeTheSamePathAsShortOnes) {
  // Words beyond the cache's limit, and texts of many words, against the tokens of their parts.
  const Tokenizer tokenizer = load("llama3");
  std::string text;
  std::vector<int32_t> ids;
  for (int i = 0; i < 3000; ++i) {
    const std::string part = " Natalia sold " + std::to_string(i) + "clips\n";
    text += part;
    const Encoding encoding = tokenizer.encode(part, false);
    ids.insert(ids.end(), encoding.ids.begin(), encoding.ids.end());
  }
  EXPECT_EQ(tokenizer.encode(text, false).ids, ids);
}

TEST(TokenizerProperty, OneHugeWordIsEncoded) {
  for (const char* name : {"qwen2", "llama2", "llama2_without_bytes"}) {
    const Tokenizer tokenizer = load(name);
    std::string word;
    for (int64_t i = 0; i < 500000; ++i) word += static_cast<char>('a' + (i * 7919 + i * i / 7) % 26);
    const Encoding encoding = tokenizer.encode(word, false);
    EXPECT_EQ(tokenizer.decode(encoding.ids), word) << name;
    EXPECT_EQ(encoding.offsets.back().end, 500000) << name;
  }
}

/// A line of so many letters without a space, of words that merge into long tokens.
std::string line_without_spaces(size_t letters) {
  const std::string words[] = {"Natalia", "sold", "clips", "to", "friends", "in", "April", "qxz"};
  std::string line;
  for (size_t i = 0; line.size() < letters; ++i) line += words[(i * 2654435761U >> 7) % std::size(words)];
  line.resize(letters);
  return line;
}

TEST(TokenizerProperty, MergesOfALineWithoutSpacesGrowWithItsLength) {
  const nlohmann::json model = test::read_json(test::fixture("tokenizers/llama2/tokenizer.json"))["model"];
  tokenizer::Vocabulary vocabulary;
  for (const auto& [token, id] : model["vocab"].items()) vocabulary.add(token, id);
  std::vector<tokenizer::NamedMerge> merges;
  for (const auto& merge : model["merges"]) merges.push_back({merge[0], merge[1]});
  const tokenizer::Bpe bpe(vocabulary, merges, {.unk_token = {}, .byte_fallback = true}, "the test's tokenizer");
  const auto candidates = [&](size_t letters) {
    tokenizer::BpeScratch scratch;
    std::vector<tokenizer::TokenLength> tokens;
    bpe.encode(line_without_spaces(letters), false, scratch, tokens);
    EXPECT_LT(tokens.size(), letters) << "nothing was merged";
    return static_cast<double>(scratch.candidates());
  };
  const double million = candidates(1'000'000);
  const double ten_million = candidates(10'000'000);
  EXPECT_NEAR(ten_million / million, 10.0, 0.1);
  // Every pair is a candidate once, and each of fewer than n merges offers two more.
  EXPECT_LT(ten_million, 3.0 * 10'000'000);
}

TEST(TokenizerProperty, ALineOfTenMegabytesWithoutSpacesIsEncoded) {
  const Tokenizer tokenizer = load("llama2");
  const std::string line = line_without_spaces(10'000'000);
  const Encoding encoding = tokenizer.encode(line, false);
  EXPECT_EQ(tokenizer.decode(encoding.ids), line);
  EXPECT_EQ(encoding.offsets.back().end, 10'000'000);
}

TEST(TokenizerProperty, ThreadsShareATokenizer) {
  const Tokenizer tokenizer = load("qwen2");
  const auto texts = test::read_json(fixture("tokenizers/texts.json")).get<std::vector<std::string>>();
  std::vector<std::vector<int32_t>> expected;
  for (const auto& text : texts) expected.push_back(tokenizer.encode(text).ids);
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (int& count : wrong) {
    threads.emplace_back([&, target = &count] {
      for (size_t i = 0; i < texts.size(); ++i) *target += tokenizer.encode(texts[i]).ids != expected[i] ? 1 : 0;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(TokenizerStream, HoldsBackHalfACharacter) {
  const Tokenizer tokenizer = load("qwen2");
  const auto ids = tokenizer.encode("\xF0\x9F\xA6\x99!", false).ids;  // a llama, which is no token
  ASSERT_GT(ids.size(), 2U);
  StreamDecoder stream(tokenizer);
  std::vector<std::string> pieces;
  for (const int32_t id : ids) pieces.push_back(stream.push(id));
  EXPECT_EQ(pieces.front(), "");
  EXPECT_EQ(pieces[pieces.size() - 2], "\xF0\x9F\xA6\x99");
  EXPECT_EQ(pieces.back(), "!");
  EXPECT_EQ(stream.finish(), "");
}

TEST(TokenizerStream, EndsAnUnfinishedCharacterWithAReplacement) {
  const Tokenizer tokenizer = load("qwen2");
  const auto ids = tokenizer.encode("\xF0\x9F\xA6\x99", false).ids;
  StreamDecoder stream(tokenizer);
  EXPECT_EQ(stream.push(ids.front()), "");
  EXPECT_EQ(stream.finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(stream.push(*tokenizer.token_to_id("a")), "a");  // starts anew
}

TEST(TokenizerFiles, AreCarriedByteForByte) {
  const auto folder = std::filesystem::temp_directory_path() / "subspect_tokenizer_save_test";
  std::filesystem::remove_all(folder);
  const Tokenizer tokenizer = load("llama3");
  tokenizer.save(folder);
  EXPECT_EQ(tokenizer.files(), (std::vector<std::string>{"tokenizer.json", "tokenizer_config.json"}));
  for (const auto& name : tokenizer.files()) {
    EXPECT_EQ(runtime::io::read_file(folder / name), runtime::io::read_file(fixture("tokenizers/llama3") / name));
  }
  std::filesystem::remove_all(folder);
}

TEST(TokenizerFiles, NameTheSpecialTokens) {
  const Tokenizer llama3 = load("llama3");
  EXPECT_EQ(llama3.bos_id(), llama3.token_to_id("<|begin_of_text|>"));
  EXPECT_EQ(llama3.eos_id(), llama3.token_to_id("<|eot_id|>"));
  EXPECT_FALSE(llama3.pad_id());
  EXPECT_EQ(llama3.prefix_ids(), std::vector<int32_t>{*llama3.bos_id()});
  EXPECT_TRUE(llama3.suffix_ids().empty());
  const Tokenizer mistral = load("mistral");  // as objects
  EXPECT_EQ(mistral.bos_id(), 1);
  EXPECT_EQ(mistral.eos_id(), 2);
  EXPECT_EQ(mistral.unk_id(), 0);
  const Tokenizer metaspace = load("metaspace");
  EXPECT_EQ(metaspace.suffix_ids(), std::vector<int32_t>{*metaspace.eos_id()});
  EXPECT_FALSE(load("qwen2").bos_id());
}

}  // namespace
}  // namespace subspect::model
