// Generation: independence of the batch, sampling, stops, limits, and the pages of the cache.
#include "model/generation/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "model/generation/kv_cache.h"
#include "model/generation/sampler.h"
#include "model/generation/text_collector.h"
#include "model/tokenizer/tokenizer.h"
#include "runtime/error.h"
#include "runtime/random.h"
#include "tests/model/model_fixtures.h"

namespace subspect::model {
namespace {

using runtime::DType;
using runtime::Tensor;
using ::testing::HasSubstr;
using Prompts = std::vector<std::vector<int32_t>>;

Prompts random_prompts(std::initializer_list<int> lengths) {
  runtime::Random random(11);
  Prompts prompts;
  for (const int length : lengths) {
    prompts.emplace_back();
    for (int i = 0; i < length; ++i) prompts.back().push_back(static_cast<int32_t>(random.below(64)));
  }
  return prompts;
}

std::vector<std::vector<int32_t>> tokens_of(const std::vector<Completion>& completions) {
  std::vector<std::vector<int32_t>> result;
  for (const Completion& completion : completions) result.push_back(completion.tokens);
  return result;
}

/// What generation must equal: the whole sequence computed anew for every token.
std::vector<int32_t> greedy_without_cache(Decoder& decoder, std::vector<int32_t> tokens, int count) {
  std::vector<int32_t> result;
  for (int i = 0; i < count; ++i) {
    const std::vector<Document> document = {{tokens}};
    const Tensor hidden = decoder.forward({testing::cpu()}, pack(testing::cpu(), document)).value;
    const Tensor last = hidden.narrow(0, hidden.size(0) - 1, 1);
    const std::vector<float> scores = decoder.logits(testing::cpu(), last).to_host<float>(testing::cpu());
    result.push_back(static_cast<int32_t>(std::max_element(scores.begin(), scores.end()) - scores.begin()));
    tokens.push_back(result.back());
  }
  return result;
}

TEST(GenerationTest, CacheChangesNothing) {
  Decoder decoder = testing::small_decoder(1);
  const Prompts prompts = random_prompts({1, 15, 16, 17, 40});
  const auto completions = generate(testing::cpu(), decoder, nullptr, prompts, {.max_new_tokens = 24});
  for (size_t i = 0; i < prompts.size(); ++i) {
    EXPECT_EQ(completions[i].tokens, greedy_without_cache(decoder, prompts[i], 24)) << i;
    EXPECT_EQ(completions[i].finish_reason, FinishReason::length);
  }
}

/// In float32: a matrix product may round differently with another number of rows, which at 1e-7 of a score changes a
/// token once in a million. (bfloat16 amplifies that to 1e-2.)
TEST(GenerationTest, BatchChangesNoToken) {
  Decoder decoder = testing::small_decoder(2);
  const Prompts prompts = random_prompts({3, 30, 1, 9, 22, 5, 64, 2, 13, 7, 7, 31, 19});
  GenerationOptions options{.max_new_tokens = 20, .sampling = {.temperature = 1.0, .seed = 5}, .eos_ids = {3, 9}};
  options.max_sequences = 1;
  const auto alone = tokens_of(generate(testing::cpu(), decoder, nullptr, prompts, options));
  for (const int64_t batch : {2, 5, 64}) {
    options.max_sequences = batch;
    EXPECT_EQ(tokens_of(generate(testing::cpu(), decoder, nullptr, prompts, options)), alone) << batch;
  }
  options.max_cache_tokens = 100;  // room for one long sequence, or a few short ones
  EXPECT_EQ(tokens_of(generate(testing::cpu(), decoder, nullptr, prompts, options)), alone);
}

TEST(GenerationTest, ThreadsAndRepetitionChangeNothing) {
  const Prompts prompts = random_prompts({3, 30, 1, 9});
  const GenerationOptions options{.max_new_tokens = 20, .sampling = {.temperature = 1.0, .seed = 5}};
  for (const DType dtype : {DType::float32, DType::bfloat16}) {
    std::set<std::vector<std::vector<int32_t>>> results;
    for (const int threads : {1, 2, 3, 3}) {
      const auto stream = runtime::Stream::open({}, threads);
      Decoder decoder(*stream, parse_decoder_config(testing::small_config(R"("initializer_range": 0.15,)"), "x"),
                      dtype);
      decoder.initialize(*stream, 2);
      results.insert(tokens_of(generate(*stream, decoder, nullptr, prompts, options)));
    }
    EXPECT_EQ(results.size(), 1U) << runtime::name(dtype);
  }
}

TEST(GenerationTest, SeedsAndPromptsDrawTheirOwnNumbers) {
  Decoder decoder = testing::small_decoder(3);
  const Prompts prompts(6, {1, 2, 3});
  GenerationOptions options{.max_new_tokens = 12, .sampling = {.temperature = 1.0, .seed = 1}};
  const auto first = tokens_of(generate(testing::cpu(), decoder, nullptr, prompts, options));
  EXPECT_EQ(std::set(first.begin(), first.end()).size(), prompts.size());
  EXPECT_EQ(tokens_of(generate(testing::cpu(), decoder, nullptr, prompts, options)), first);
  options.sampling.seed = 2;
  EXPECT_NE(tokens_of(generate(testing::cpu(), decoder, nullptr, prompts, options)), first);
}

TEST(GenerationTest, NarrowSamplingIsGreedy) {
  Decoder decoder = testing::small_decoder(4);
  const Prompts prompts = random_prompts({4, 8});
  const auto greedy = tokens_of(generate(testing::cpu(), decoder, nullptr, prompts, {.max_new_tokens = 10}));
  for (const SamplingOptions& sampling :
       {SamplingOptions{.temperature = 1.0, .top_k = 1}, SamplingOptions{.temperature = 1.0, .top_p = 1e-6},
        SamplingOptions{.temperature = 1e-4}}) {
    const GenerationOptions options{.max_new_tokens = 10, .sampling = sampling};
    EXPECT_EQ(tokens_of(generate(testing::cpu(), decoder, nullptr, prompts, options)), greedy);
  }
}

TEST(GenerationTest, EndsAtEveryEosIdAndAtTheLimits) {
  Decoder decoder = testing::small_decoder(5);
  const Prompts prompts = random_prompts({6});
  const std::vector<int32_t> all = greedy_without_cache(decoder, prompts[0], 12);
  for (const size_t place : {size_t{0}, size_t{5}}) {
    const auto first = static_cast<size_t>(std::find(all.begin(), all.end(), all[place]) - all.begin());
    const GenerationOptions options{.max_new_tokens = 12, .eos_ids = {all[place]}};
    const Completion completion = generate(testing::cpu(), decoder, nullptr, prompts, options)[0];
    EXPECT_EQ(completion.finish_reason, FinishReason::stop);
    EXPECT_EQ(completion.tokens, std::vector<int32_t>(all.begin(), all.begin() + static_cast<int64_t>(first) + 1));
  }
  const GenerationOptions ignoring{.max_new_tokens = 12, .eos_ids = {all[0]}, .ignore_eos = true};
  EXPECT_EQ(generate(testing::cpu(), decoder, nullptr, prompts, ignoring)[0].tokens, all);
}

TEST(GenerationTest, EndsWhereTheModelsPositionsEnd) {
  Decoder decoder = testing::small_decoder(6);  // 256 positions
  const Prompts prompts = {std::vector<int32_t>(250, 7)};
  const Completion completion = generate(testing::cpu(), decoder, nullptr, prompts, {.max_new_tokens = 50})[0];
  EXPECT_EQ(completion.tokens.size(), 6U);
  EXPECT_EQ(completion.finish_reason, FinishReason::length);
  EXPECT_THROW(generate(testing::cpu(), decoder, nullptr, Prompts{std::vector<int32_t>(256, 7)}, {}), runtime::Error);
}

TEST(GenerationTest, ReportsProgressAndStopsWhenTold) {
  Decoder decoder = testing::small_decoder(7);
  const Prompts prompts = random_prompts({3, 3, 3, 3, 3});
  GenerationOptions options{.max_new_tokens = 4};
  options.max_sequences = 2;
  GenerationProgress last;
  generate(testing::cpu(), decoder, nullptr, prompts, options, [&](const GenerationProgress& progress) {
    EXPECT_GE(progress.finished, last.finished);
    EXPECT_EQ(progress.total, 5);
    last = progress;
  });
  EXPECT_EQ(last.finished, 5);
  EXPECT_EQ(last.new_tokens, 20);
  const auto stop = [](const GenerationProgress&) { throw runtime::Interrupted("interrupted", "", "run it again"); };
  EXPECT_THROW(generate(testing::cpu(), decoder, nullptr, prompts, options, stop), runtime::Interrupted);
}

TEST(GenerationTest, RefusesWhatItCannotDo) {
  Decoder decoder = testing::small_decoder(8);
  const Prompts prompts = {{1}};
  const auto run = [&](const GenerationOptions& options, const Prompts& input) {
    return generate(testing::cpu(), decoder, nullptr, input, options);
  };
  EXPECT_TRUE(run({}, {}).empty());
  EXPECT_THROW(run({}, {{}}), runtime::Error);
  EXPECT_THROW(run({}, {{64}}), runtime::Error);
  EXPECT_THROW(run({.max_new_tokens = 0}, prompts), runtime::UsageError);
  EXPECT_THROW(run({.sampling = {.temperature = -1}}, prompts), runtime::UsageError);
  EXPECT_THROW(run({.sampling = {.top_p = 0}}, prompts), runtime::UsageError);
  EXPECT_THROW(run({.sampling = {.repetition_penalty = 0}}, prompts), runtime::UsageError);
  EXPECT_THROW(run({.stop = {"x"}}, prompts), runtime::Error);
}

/// Words joined by spaces: ids 0 to 15 are "a" to "p", the others "w16" and so on.
Tokenizer letters(int count = 64) {
  std::string vocabulary;
  for (int i = 0; i < count; ++i) {
    const std::string word = i < 16 ? std::string(1, static_cast<char>('a' + i)) : "w" + std::to_string(i);
    vocabulary += (i > 0 ? ", \"" : "\"") + word + "\": " + std::to_string(i);
  }
  return Tokenizer::parse(R"({"version": "1.0", "added_tokens": [], "normalizer": null,
      "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
      "model": {"type": "WordLevel", "unk_token": "a", "vocab": {)" +
                              vocabulary + "}}}",
                          "", "letters");
}

TEST(TextCollectorTest, CutsBeforeTheFirstStopString) {
  const Tokenizer tokenizer = letters();
  const std::vector<std::string> stop = {"c d", "", "b c d e", "zzz"};
  TextCollector text(&tokenizer, stop, true);
  EXPECT_FALSE(text.push(0));
  EXPECT_FALSE(text.push(1));
  EXPECT_FALSE(text.push(2));
  EXPECT_TRUE(text.push(3));
  EXPECT_EQ(text.text(), "a b ");
  EXPECT_TRUE(text.push(4));
  EXPECT_TRUE(text.finish());
  EXPECT_EQ(text.text(), "a b ");
}

TEST(TextCollectorTest, IsTheWholeTextWithoutAStop) {
  const Tokenizer tokenizer = letters();
  const std::vector<std::string> stop = {"q"};
  TextCollector text(&tokenizer, stop, true);
  for (const int32_t id : {0, 1, 2}) EXPECT_FALSE(text.push(id));
  EXPECT_FALSE(text.finish());
  EXPECT_EQ(text.text(), "a b c");
}

TEST(TextCollectorTest, IdsWithoutATokenAddNothing) {
  const Tokenizer tokenizer = letters();
  const std::vector<std::string> stop = {"a b"};
  TextCollector text(&tokenizer, stop, true);
  EXPECT_FALSE(text.push(70));
  EXPECT_FALSE(text.push(0));
  EXPECT_FALSE(text.push(64));
  EXPECT_TRUE(text.push(1));
  EXPECT_TRUE(text.push(1000000));
}

TEST(GenerationTest, ModelMayHaveMoreRowsThanTheTokenizerHasTokens) {
  Decoder decoder = testing::small_decoder(10);  // 64 rows
  const Tokenizer tokenizer = letters(16);
  const auto completions = generate(testing::cpu(), decoder, &tokenizer, random_prompts({6, 9}),
                                    {.max_new_tokens = 24, .sampling = {.temperature = 2, .seed = 1}});
  int64_t beyond = 0;
  for (const Completion& completion : completions) {
    std::vector<int32_t> known = completion.tokens;
    beyond += static_cast<int64_t>(std::erase_if(known, [](int32_t id) { return id >= 16; }));
    EXPECT_EQ(completion.text, tokenizer.decode(known));
  }
  EXPECT_GT(beyond, 0);
}

TEST(GenerationTest, TextIsThatOfTheTokensAndEndsBeforeAStop) {
  Decoder decoder = testing::small_decoder(9);
  const Tokenizer tokenizer = letters();
  const Prompts prompts = random_prompts({6, 9});
  const auto plain = generate(testing::cpu(), decoder, &tokenizer, prompts, {.max_new_tokens = 12});
  for (const Completion& completion : plain) EXPECT_EQ(completion.text, tokenizer.decode(completion.tokens));
  // Stop where the second new word of the first completion begins.
  const std::string stop = tokenizer.id_to_token(plain[0].tokens[1]);
  const auto stopped = generate(testing::cpu(), decoder, &tokenizer, prompts, {.max_new_tokens = 12, .stop = {stop}});
  EXPECT_EQ(stopped[0].finish_reason, FinishReason::stop);
  EXPECT_EQ(stopped[0].text, plain[0].text.substr(0, plain[0].text.find(stop)));
  EXPECT_LE(stopped[0].tokens.size(), 2U);
}

TEST(KvCacheTest, PagesAreTakenAndGivenBack) {
  KvCache cache(testing::cpu(), parse_decoder_config(testing::small_config(), "x"), DType::float32, 100);
  EXPECT_EQ(cache.total_pages(), 7);
  const PageList a = cache.take(17);
  const PageList b = cache.take(80);
  EXPECT_EQ(a.size(), 2U);
  EXPECT_EQ(cache.free_pages(), 0);
  std::set<int32_t> all(a.begin(), a.end());
  all.insert(b.begin(), b.end());
  EXPECT_EQ(all.size(), 7U);
  EXPECT_EQ(KvCache::slot(a, 16), a[1] * KvCache::page_size);
  EXPECT_EQ(KvCache::slot(a, 5), a[0] * KvCache::page_size + 5);
  EXPECT_THROW(cache.take(1), runtime::Error);
  cache.give_back(b);
  EXPECT_EQ(cache.free_pages(), 5);
  EXPECT_EQ(cache.take(80).size(), 5U);
}

TEST(SamplerTest, PenaltyAndTieBreaking) {
  const std::vector<float> scores = {1, 4, 4, -1, 0, 3, 2, -2};
  const std::vector<int32_t> seen = {1};
  const std::vector<SamplerRow> rows = {{.sequence = 0, .position = 1, .tokens = seen},
                                        {.sequence = 1, .position = 1, .tokens = {}}};
  const auto choose = [&](double penalty) {
    const Tensor logits = Tensor::from_host<float>(testing::cpu(), scores, {2, 4});
    return choose_tokens(testing::cpu(), logits, rows, {.repetition_penalty = penalty});
  };
  EXPECT_EQ(choose(1.0), (std::vector<int32_t>{1, 1}));  // the lowest id among equals
  EXPECT_EQ(choose(1.5), (std::vector<int32_t>{2, 1}));
}

TEST(EosTest, GenerationConfigComesFirst) {
  const testing::TemporaryDirectory temporary;
  const DecoderConfig config = parse_decoder_config(testing::small_config(R"("eos_token_id": 7,)"), "x");
  EXPECT_EQ(read_eos_ids(temporary.path(), config), (std::vector<int64_t>{7}));
  testing::write_text(temporary.path() / "generation_config.json", R"({"eos_token_id": [5, 6]})");
  EXPECT_EQ(read_eos_ids(temporary.path(), config), (std::vector<int64_t>{5, 6}));
  testing::write_text(temporary.path() / "generation_config.json", R"({"eos_token_id": 8})");
  EXPECT_EQ(read_eos_ids(temporary.path(), config), (std::vector<int64_t>{8}));
  testing::write_text(temporary.path() / "generation_config.json", R"({"temperature": 0.6})");
  EXPECT_EQ(read_eos_ids(temporary.path(), config), (std::vector<int64_t>{7}));
}

}  // namespace
}  // namespace subspect::model
