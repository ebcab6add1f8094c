// The planned memory of training against what the allocator measures, over families, recomputation, optimizer states,
// tied embeddings and micro-batches; and the recomputation that is chosen for a given memory.
#include "model/training_memory.h"

#include <gtest/gtest.h>

#include <numeric>

#include "model/inspect.h"
#include "tests/model/measured_training.h"
#include "tests/model/model_fixtures.h"

namespace subspect::model {
namespace {

using runtime::DType;

DecoderConfig config_of(const std::string& members) {
  return parse_decoder_config("{" + members + "}", "config.json");
}

DecoderConfig llama2_7b() {
  return config_of(R"("model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
      "intermediate_size": 11008, "vocab_size": 32000)");
}

TEST(TrainingMemoryTest, WhatLastsIsCountedByHand) {
  const DecoderConfig config = parse_decoder_config(testing::small_config(), "config.json");
  const int64_t parameters = count_parameters(config).total();
  const TrainingShape shape{.compute = DType::bfloat16, .master_weights = true};
  const TrainingMemory plan = plan_training(config, shape);
  EXPECT_EQ(plan.of(MemoryUse::weights), 2 * parameters);
  EXPECT_EQ(plan.of(MemoryUse::gradients), 4 * parameters);
  EXPECT_EQ(plan.of(MemoryUse::master_weights), 4 * parameters);
  EXPECT_EQ(plan.of(MemoryUse::moments), 8 * parameters);
  EXPECT_GT(plan.of(MemoryUse::activations), 0);
  EXPECT_EQ(plan.of(MemoryUse::libraries), 0);
  EXPECT_EQ(plan.peak(), std::accumulate(plan.bytes.begin(), plan.bytes.end(), int64_t{0}));
  EXPECT_GE(plan.reserved, plan.peak());
  TrainingShape shared = shape;
  shared.ranks = 4;
  EXPECT_EQ(plan_training(config, shared).of(MemoryUse::moments), 2 * parameters);
}

/// As `Decoder::parameters` has them, so that the plan and the decoder cannot drift apart.
TEST_P(PlannedTraining, IsWhatTheAllocatorMeasures) {
  expect_planned(runtime::Device{}, GetParam());
}

INSTANTIATE_TEST_SUITE_P(Configurations, PlannedTraining, ::testing::ValuesIn(planned_configurations()),
                         [](const auto& instance) { return instance.param.name; });

TEST(TrainingMemoryTest, ChoosesTheLeastRecomputationThatFits) {
  const DecoderConfig config = llama2_7b();
  TrainingShape shape{.compute = DType::bfloat16, .micro_batch_tokens = 4096};
  const auto with = [&](const Recompute& recompute) {
    shape.recompute = recompute;
    return plan_training(config, shape);
  };
  const TrainingMemory none = with({});
  const TrainingMemory cheap = with({.ops = true});
  const TrainingMemory some = with({.ops = true, .blocks = 5});
  const TrainingMemory all = with({.blocks = Recompute::all_blocks});
  EXPECT_LT(cheap.reserved, none.reserved);
  EXPECT_LT(some.reserved, cheap.reserved);
  EXPECT_LT(all.reserved, some.reserved);
  const auto chosen = [&](int64_t bytes) { return describe(plan_training_within(config, shape, bytes).recompute, 32); };
  EXPECT_EQ(chosen(none.reserved), "none");
  EXPECT_EQ(chosen(none.reserved - 1), "cheap ops");
  EXPECT_EQ(chosen(cheap.reserved - 1), "cheap ops, 1 of 32 blocks");
  EXPECT_EQ(chosen(some.reserved), "cheap ops, 5 of 32 blocks");
  EXPECT_EQ(chosen(1), "all blocks");
  EXPECT_EQ(plan_training_within(config, shape, 1).reserved, all.reserved);
}

/// The sizes that this project is built for (bfloat16 with float32 masters; see docs/memory.md).
TEST(TrainingMemoryTest, Llama2FitsAnH200AndQwenFitsACardOf24) {
  constexpr int64_t gigabyte = 1'000'000'000;
  const TrainingShape full{.compute = DType::bfloat16, .master_weights = true, .device = runtime::DeviceType::cuda};
  EXPECT_LE(plan_training_within(llama2_7b(), full, 141 * gigabyte - gpu_driver_bytes).reserved,
            141 * gigabyte - gpu_driver_bytes);
  const DecoderConfig qwen = config_of(R"("model_type": "qwen2", "hidden_size": 1536, "num_hidden_layers": 28,
      "num_attention_heads": 12, "num_key_value_heads": 2, "intermediate_size": 8960, "vocab_size": 151936,
      "tie_word_embeddings": true)");
  TrainingShape small = full;
  small.int8_moments = true;
  EXPECT_LE(plan_training_within(qwen, small, 24 * gigabyte - gpu_driver_bytes).reserved,
            24 * gigabyte - gpu_driver_bytes);
}

}  // namespace
}  // namespace subspect::model
