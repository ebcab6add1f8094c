// Counts of the models of the study against numbers known from their publications and from hand calculation.
#include "model/inspect.h"

#include <gtest/gtest.h>

#include "model/decoder.h"
#include "tests/model/model_fixtures.h"

namespace subspect::model {
namespace {

DecoderConfig config_of(const std::string& members) {
  return parse_decoder_config("{" + members + "}", "config.json");
}

TEST(InspectTest, PublishedParameterCounts) {
  const DecoderConfig llama2 = config_of(R"("model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32,
      "num_attention_heads": 32, "intermediate_size": 11008, "vocab_size": 32000)");
  EXPECT_EQ(count_parameters(llama2).total(), 6'738'415'616);
  const DecoderConfig llama32 = config_of(R"("model_type": "llama", "hidden_size": 2048, "num_hidden_layers": 16,
      "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 8192, "vocab_size": 128256,
      "tie_word_embeddings": true)");
  EXPECT_EQ(count_parameters(llama32).total(), 1'235'814'400);
  const DecoderConfig qwen = config_of(R"("model_type": "qwen2", "hidden_size": 1536, "num_hidden_layers": 28,
      "num_attention_heads": 12, "num_key_value_heads": 2, "intermediate_size": 8960, "vocab_size": 151936,
      "tie_word_embeddings": true)");
  EXPECT_EQ(count_parameters(qwen).total(), 1'543'714'304);
}

TEST(InspectTest, CountsAreThoseOfTheDecoder) {
  for (const std::string& name : testing::fixture_names()) {
    const DecoderConfig config = read_decoder_config(testing::fixture(name) / "config.json");
    const Decoder decoder(testing::cpu(), config, runtime::DType::float32);
    int64_t values = 0;
    for (const runtime::Parameter* parameter : decoder.parameters()) values += parameter->value.numel();
    EXPECT_EQ(count_parameters(config).total(), values) << name;
  }
}

TEST(InspectTest, FlopsByHand) {
  const DecoderConfig config = parse_decoder_config(testing::small_config(), "config.json");
  // Per layer: q, o 32 x 32; k, v 16 x 32; gate, up, down 48 x 32. Head 64 x 32.
  const double products = 2.0 * (2 * (2 * 1024 + 2 * 512 + 3 * 1536) + 64 * 32);
  // Documents of 9 tokens see 5 keys on average: q k and p v are 2 flops each per element of 32.
  EXPECT_DOUBLE_EQ(forward_flops_per_token(config, 9), products + 2 * 4.0 * 32 * 5);
  EXPECT_DOUBLE_EQ(training_flops_per_token(config, 9), 3 * forward_flops_per_token(config, 9));
  const DecoderConfig windowed = read_decoder_config(testing::fixture("mistral") / "config.json");
  EXPECT_LT(forward_flops_per_token(windowed, 64), forward_flops_per_token(windowed, 4096) + 1);
}

TEST(InspectTest, KvCacheOfLlama2) {
  const DecoderConfig llama2 = config_of(R"("model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32,
      "num_attention_heads": 32, "intermediate_size": 11008, "vocab_size": 32000)");
  // Half a megabyte per token in bfloat16.
  EXPECT_EQ(plan_inference(llama2, runtime::DType::bfloat16, 1, 2048, 0).kv_cache, 2048 * 524'288);
  // Four sequences, of which the cache holds as much as it may; one always fits.
  const int64_t gibibyte = int64_t{1} << 30;
  EXPECT_EQ(plan_inference(llama2, runtime::DType::bfloat16, 4, 2048, 3 * gibibyte).kv_cache, 3 * gibibyte);
  EXPECT_EQ(plan_inference(llama2, runtime::DType::bfloat16, 4, 2048, 5 * gibibyte).kv_cache, 4 * gibibyte);
}

}  // namespace
}  // namespace subspect::model
