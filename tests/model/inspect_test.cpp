// Counts of the models of the study against numbers known from their publications and from hand calculation.
#include "model/inspect.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "model/decoder.h"
#include "runtime/optim/optimizer.h"
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

TEST(InspectTest, TrainingMemoryAddsUp) {
  const DecoderConfig config = parse_decoder_config(testing::small_config(), "config.json");
  const int64_t parameters = count_parameters(config).total();
  const MemoryPlan plan = plan_training(config, {.compute = runtime::DType::bfloat16, .master_weights = true});
  EXPECT_EQ(plan.weights, 2 * parameters);
  EXPECT_EQ(plan.gradients, 4 * parameters);
  EXPECT_EQ(plan.optimizer, 12 * parameters);
  EXPECT_EQ(plan.total(), plan.weights + plan.gradients + plan.optimizer + plan.activations);
  EXPECT_GT(plan.activations, 0);
  const MemoryPlan coded =
      plan_training(config, {.compute = runtime::DType::bfloat16, .master_weights = true, .int8_moments = true});
  EXPECT_NEAR(static_cast<double>(coded.optimizer), (4 + 2 * (1 + 4.0 / 256)) * static_cast<double>(parameters), 8);
}

/// The most that tensors held during a step of training on one document.
int64_t measured_peak(const DecoderConfig& config, const TrainingShape& shape) {
  const auto stream = runtime::Stream::open({}, 1);
  const int64_t before = stream->allocator()->stats().current_bytes;
  Decoder decoder(*stream, config, shape.compute);
  decoder.initialize(*stream, 1);
  decoder.allocate_grads(*stream);
  const auto optimizer =
      runtime::optim::make_adamw(*stream, decoder.parameters(), {}, {.master_weights = shape.master_weights});
  const std::vector<int32_t> ids(static_cast<size_t>(shape.micro_batch_tokens), 1);
  const std::vector<Document> documents = {{ids, ids}};
  stream->allocator()->reset_peak();
  const Batch batch = pack(*stream, documents);
  runtime::Tape tape(*stream);
  tape.backward(decoder.loss({*stream, &tape}, batch, 1.0F, {.recompute = shape.recompute}).loss);
  optimizer->step({});
  return stream->allocator()->stats().peak_bytes - before;
}

class TrainingMemoryTest : public ::testing::TestWithParam<std::tuple<const char*, int, runtime::DType, bool>> {};

TEST_P(TrainingMemoryTest, IsWhatTheAllocatorPeaksAt) {
  const auto [family, vocabulary, dtype, recompute] = GetParam();
  const DecoderConfig config = config_of(fmt::format(
      R"("vocab_size": {}, "model_type": "{}", "hidden_size": 96, "num_hidden_layers": 4, "num_attention_heads": 3, "num_key_value_heads": 1,
      "head_dim": 32, "intermediate_size": 320, "max_position_embeddings": 1024, "tie_word_embeddings": true)",
      vocabulary, family));
  const TrainingShape shape{.compute = dtype,
                            .master_weights = dtype == runtime::DType::bfloat16,
                            .micro_batch_tokens = 500,
                            .recompute = recompute};
  const auto planned = static_cast<double>(plan_training(config, shape).total());
  EXPECT_NEAR(static_cast<double>(measured_peak(config, shape)) / planned, 1, 0.15);
}

INSTANTIATE_TEST_SUITE_P(Models, TrainingMemoryTest,
                         ::testing::Combine(::testing::Values("llama", "qwen3"), ::testing::Values(500, 20000),
                                            ::testing::Values(runtime::DType::float32, runtime::DType::bfloat16),
                                            ::testing::Bool()));

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
