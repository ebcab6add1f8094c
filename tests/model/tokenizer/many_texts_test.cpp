// 20,000 made-up texts (scripts, code, runs of one character, added tokens inside words) against the ids and offsets
// that Hugging Face `tokenizers` gives. tools/fixtures/many_texts.py makes the same texts; only hashes are stored.
#include <gtest/gtest.h>

#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/unicode.h"
#include "runtime/io/hash.h"
#include "tests/fidelity.h"
#include "tests/model/tokenizer/tokenizer_test_support.h"

namespace subspect::model {
namespace {

using nlohmann::json;
using test::fixture;
using test::read_json;

constexpr size_t text_count = 20000;
constexpr size_t block_size = 500;

/// splitmix64 (Steele, Lea and Flood, OOPSLA 2014).
class SplitMix {
 public:
  explicit SplitMix(uint64_t seed) : state_(seed) {}

  size_t below(size_t count) {
    state_ += 0x9E3779B97F4A7C15ULL;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return (z ^ (z >> 31)) % count;
  }

 private:
  uint64_t state_;
};

/// The texts of many_texts.py, by index.
class Texts {
 public:
  Texts() {
    const json pieces = read_json(fixture("tokenizers_many/pieces.json"));
    for (const json& range : pieces["ranges"]) ranges_.emplace_back(range[0], range[1]);
    words_ = pieces["words"];
    added_ = pieces["added"];
    spaces_ = pieces["spaces"];
    runs_ = pieces["runs"];
  }

  std::string operator()(size_t index) const {
    SplitMix random(index);
    std::string text;
    for (size_t pieces = 1 + random.below(7); pieces > 0; --pieces) text += piece(random);
    return text;
  }

 private:
  static const std::string& one_of(const std::vector<std::string>& list, SplitMix& random) {
    return list[random.below(list.size())];
  }

  std::string letters(SplitMix& random, size_t most) const {
    const auto [low, high] = ranges_[random.below(ranges_.size())];
    std::string word;
    for (size_t count = 1 + random.below(most); count > 0; --count) {
      tokenizer::append_utf8(word, static_cast<char32_t>(low + random.below(high - low + 1)));
    }
    return word;
  }

  std::string piece(SplitMix& random) const {
    std::string text;
    switch (random.below(8)) {
      case 0:
        return letters(random, 12);
      case 1:
        return " " + letters(random, 6);
      case 2: {
        const std::string& character = one_of(runs_, random);
        for (size_t count = 1 + random.below(70); count > 0; --count) text += character;
        return text;
      }
      case 3:
        for (size_t count = 1 + random.below(12); count > 0; --count) text += static_cast<char>('0' + random.below(10));
        return text;
      case 4:
        return one_of(spaces_, random);
      case 5:
        text = letters(random, 3);
        text += one_of(added_, random);
        return text + letters(random, 3);
      default:
        return one_of(words_, random);
    }
  }

  std::vector<std::pair<uint32_t, uint32_t>> ranges_;
  std::vector<std::string> words_, added_, spaces_, runs_;
};

std::string as_words(const Encoding& encoding) {
  std::vector<uint32_t> words = {static_cast<uint32_t>(encoding.ids.size())};
  for (const int32_t id : encoding.ids) words.push_back(static_cast<uint32_t>(id));
  for (const auto& offset : encoding.offsets) words.push_back(static_cast<uint32_t>(offset.begin));
  for (const auto& offset : encoding.offsets) words.push_back(static_cast<uint32_t>(offset.end));
  return {reinterpret_cast<const char*>(words.data()), words.size() * sizeof(uint32_t)};
}

/// The SHA-256 of every block of what `make(text)` gives.
template <class Make>
std::vector<std::string> block_hashes(Make make) {
  const Texts texts;
  std::vector<std::string> hashes;
  for (size_t begin = 0; begin < text_count; begin += block_size) {
    std::string block;
    for (size_t i = begin; i < begin + block_size; ++i) block += make(texts(i));
    hashes.push_back(runtime::io::sha256(block));
  }
  return hashes;
}

const json& golden() {
  static const json all = read_json(fixture("tokenizers_many/golden.json"));
  return all;
}

void expect_equal_blocks(const std::string& name, const std::filesystem::path& directory) {
  const Tokenizer tokenizer = Tokenizer::load(directory);
  const std::vector<std::string> hashes =
      block_hashes([&](const std::string& text) { return as_words(tokenizer.encode(text)); });
  ASSERT_EQ(golden()[name].size(), hashes.size());
  for (size_t block = 0; block < hashes.size(); ++block) {
    tests::expect_within("tokenizers: ids and offsets of blocks of 500 texts",
                         golden()[name][block] == hashes[block] ? 0.0 : 1.0, 0.0,
                         name + ", block " + std::to_string(block));
  }
}

TEST(ManyTexts, AreTheTextsOfTheGoldens) {
  EXPECT_EQ(block_hashes([](const std::string& text) { return text + '\0'; }),
            golden()["texts"].get<std::vector<std::string>>());
}

class ManyTextsOf : public testing::TestWithParam<const char*> {};

TEST_P(ManyTextsOf, HaveTheIdsAndOffsetsOfHuggingFace) {
  expect_equal_blocks(GetParam(), fixture("tokenizers") / GetParam());
}

INSTANTIATE_TEST_SUITE_P(Families, ManyTextsOf,
                         testing::Values("qwen2", "llama3", "llama2", "mistral", "llama2_without_bytes", "gpt2",
                                         "metaspace", "words", "spaced_words", "splits"),
                         [](const auto& parameter) { return std::string(parameter.param); });

TEST(ManyTexts, HaveTheIdsAndOffsetsOfQwen) {
  if (!std::filesystem::exists(test::data("qwen2.5/tokenizer.json"))) GTEST_SKIP() << "no " << test::data("qwen2.5");
  expect_equal_blocks("qwen2.5", test::data("qwen2.5"));
}

}  // namespace
}  // namespace subspect::model
