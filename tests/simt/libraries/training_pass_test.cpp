// Passes over micro-batches on an emulated GPU: what is recorded, and that a recording gives the same bits as its
// kernels one by one, under late streams of several seeds.
#include "model/training_pass.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <numeric>

#include "runtime/optim/optimizer.h"
#include "tests/simt/cuda/support.h"

namespace subspect::model {
namespace {

using runtime::Tensor;

class RecordedTraining : public emulated::test::EmulatedCase {};

/// Two documents' lengths, and the number that all their tokens follow from.
struct MicroBatch {
  std::vector<int64_t> lengths;
  int32_t first = 0;
  float scale = 0.05F;
};

/// Two micro-batches of one shape in every optimizer step; then one of another shape, and the first again.
const std::vector<std::vector<MicroBatch>> steps = {
    {{{5, 3}, 1}, {{5, 3}, 2}}, {{{5, 3}, 3}, {{5, 3}, 4}}, {{{4, 4}, 5}, {{5, 3}, 6}}, {{{5, 3}, 7}, {{5, 3}, 8}}};

struct Outcome {
  std::vector<double> losses;
  std::vector<std::vector<float>> weights;
  std::vector<bool> recorded;  // after each pass
};

DecoderConfig tiny_config() {
  return parse_decoder_config(R"({"model_type": "qwen2", "hidden_size": 16, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 24, "vocab_size": 40,
    "max_position_embeddings": 64, "tie_word_embeddings": true, "initializer_range": 0.1})",
                              "config.json");
}

Tensor pass_over(TrainingPass& pass, const MicroBatch& batch, bool record) {
  std::vector<std::vector<int32_t>> ids;
  std::vector<std::vector<int32_t>> targets;
  for (const int64_t length : batch.lengths) {
    ids.emplace_back(static_cast<size_t>(length));
    std::iota(ids.back().begin(), ids.back().end(), batch.first);
    targets.push_back(shift_labels(ids.back()));
  }
  std::vector<Document> documents;
  for (size_t i = 0; i < ids.size(); ++i) documents.push_back({ids[i], targets[i]});
  return record ? pass.run(documents, batch.scale) : pass.run_once(documents, batch.scale, nullptr);
}

Outcome train(runtime::DType dtype, Recompute recompute, bool record) {
  const auto stream = runtime::Stream::open(runtime::Device::parse("cuda"));
  Decoder decoder(*stream, tiny_config(), dtype);
  decoder.initialize(*stream, 7);
  decoder.allocate_grads(*stream);
  const auto optimizer = runtime::optim::make_adamw(*stream, decoder.parameters(), {.lr = 1e-2}, {});
  TrainingPass pass(*stream, decoder, recompute);
  Outcome outcome;
  for (const std::vector<MicroBatch>& step : steps) {
    for (const runtime::Parameter* parameter : decoder.parameters()) parameter->grad.fill_zero(*stream);
    std::vector<Tensor> losses;
    for (const MicroBatch& batch : step) {
      losses.push_back(pass_over(pass, batch, record));
      outcome.recorded.push_back(pass.recorded());
    }
    optimizer->step({});
    for (const Tensor& loss : losses) outcome.losses.push_back(loss.to_host<double>(*stream)[0]);
  }
  for (const runtime::Parameter* parameter : decoder.parameters()) {
    outcome.weights.push_back(parameter->value.to_host<float>(*stream));
  }
  return outcome;
}

TEST_F(RecordedTraining, GivesTheBitsOfItsKernels) {
  const std::vector<std::pair<runtime::DType, Recompute>> settings = {
      {runtime::DType::float32, {}}, {runtime::DType::bfloat16, {.ops = true, .blocks = 1}}};
  for (const auto& [dtype, recompute] : settings) {
    const Outcome expected = train(dtype, recompute, false);
    for (uint64_t seed = 1; seed <= 2; ++seed) {
      SCOPED_TRACE(fmt::format("{}, {} blocks again, seed {}", name(dtype), recompute.blocks, seed));
      emulated::reset({.seed = seed});
      const Outcome actual = train(dtype, recompute, true);
      EXPECT_EQ(actual.losses, expected.losses);
      EXPECT_EQ(actual.weights, expected.weights);
    }
  }
}

TEST_F(RecordedTraining, RecordsTheSecondPassOfAShape) {
  const Outcome outcome = train(runtime::DType::float32, {}, true);
  EXPECT_EQ(outcome.recorded, (std::vector<bool>{false, true, true, true, false, false, true, true}));
}

TEST_F(RecordedTraining, ADifferentScaleIsADifferentShape) {
  const auto stream = runtime::Stream::open(runtime::Device::parse("cuda"));
  Decoder decoder(*stream, tiny_config(), runtime::DType::float32);
  decoder.initialize(*stream, 7);
  decoder.allocate_grads(*stream);
  TrainingPass pass(*stream, decoder, {});
  for (const float scale : {0.5F, 0.25F}) pass_over(pass, {{5, 3}, 1, scale}, true);
  EXPECT_FALSE(pass.recorded());
}

TEST_F(RecordedTraining, IsForFewTokensOfSmallModels) {
  DecoderConfig config = tiny_config();
  EXPECT_TRUE(TrainingPass::host_would_be_slower(config, 100'000));
  config.intermediate_size = 24'000'000;  // 1.15e9 weights a block
  EXPECT_TRUE(TrainingPass::host_would_be_slower(config, 13));
  EXPECT_FALSE(TrainingPass::host_would_be_slower(config, 14));
}

}  // namespace
}  // namespace subspect::model
