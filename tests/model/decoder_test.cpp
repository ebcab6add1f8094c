// The decoder against itself: packing, recomputation, threads and random initialisation.
#include "model/decoder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "model/checkpoint.h"
#include "runtime/error.h"
#include "runtime/random.h"
#include "tests/model/model_fixtures.h"

namespace subspect::model {
namespace {

using runtime::DType;
using runtime::Execution;
using runtime::Stream;
using runtime::Tensor;

struct Sample {
  std::vector<int32_t> ids;
  std::vector<int32_t> targets;
};

std::vector<Sample> random_samples(std::initializer_list<int> lengths) {
  runtime::Random random(7);
  std::vector<Sample> samples;
  for (const int length : lengths) {
    Sample sample;
    for (int i = 0; i < length; ++i) {
      sample.ids.push_back(static_cast<int32_t>(random.below(64)));
      sample.targets.push_back(random.chance(0.3) ? runtime::ops::ignored_target
                                                  : static_cast<int32_t>(random.below(64)));
    }
    samples.push_back(std::move(sample));
  }
  return samples;
}

Batch pack_all(Stream& stream, const std::vector<Sample>& samples) {
  std::vector<Document> documents;
  for (const Sample& sample : samples) documents.push_back({sample.ids, sample.targets});
  return pack(stream, documents);
}

using Grads = std::map<std::string, std::vector<float>>;

Grads gradients(Stream& stream, Decoder& decoder, const std::vector<Batch>& batches, const Recompute& recompute = {}) {
  decoder.allocate_grads(stream);
  for (const Batch& batch : batches) {
    runtime::Tape tape(stream);
    tape.backward(decoder.loss({stream, &tape}, batch, 0.01F, {.recompute = recompute}).loss);
  }
  Grads result;
  for (const runtime::Parameter* parameter : decoder.parameters()) {
    result[parameter->parts.front().name] = parameter->grad.to_host<float>(stream);
  }
  return result;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(DecoderTest, PackedGradientsEqualOneByOne) {
  Decoder decoder = testing::small_decoder(1);
  const std::vector<Sample> samples = random_samples({1, 17, 40, 2, 33});
  const Grads packed = gradients(testing::cpu(), decoder, {pack_all(testing::cpu(), samples)});
  std::vector<Batch> single;
  for (const Sample& sample : samples) single.push_back(pack_all(testing::cpu(), {sample}));
  for (const auto& [name, values] : gradients(testing::cpu(), decoder, single)) {
    EXPECT_LT(testing::relative_error(values, packed.at(name)), 1e-5) << name;
  }
}

const std::vector<Recompute> recomputes = {
    {.ops = true}, {.blocks = Recompute::all_blocks}, {.ops = true, .blocks = 1}};

TEST(DecoderTest, RecomputationChangesNoBit) {
  for (const DType dtype : {DType::float32, DType::bfloat16}) {
    Decoder decoder = testing::small_decoder(2, dtype);
    const std::vector<Batch> batches = {pack_all(testing::cpu(), random_samples({29, 3, 50}))};
    const Grads recorded = gradients(testing::cpu(), decoder, batches);
    for (const Recompute& recompute : recomputes) {
      for (const auto& [name, values] : gradients(testing::cpu(), decoder, batches, recompute)) {
        EXPECT_TRUE(same_bits(values, recorded.at(name))) << name;
      }
    }
  }
}

/// Biases, and norms of queries and keys: every op that makes its result again.
TEST(DecoderTest, RecomputationChangesNoBitOfAnyFamily) {
  for (const char* family : {"qwen2", "qwen3"}) {
    Decoder decoder(testing::cpu(), read_decoder_config(testing::fixture(family) / "config.json"), DType::float32);
    decoder.initialize(testing::cpu(), 5);
    const std::vector<Batch> batches = {pack_all(testing::cpu(), random_samples({29, 3}))};
    const Grads recorded = gradients(testing::cpu(), decoder, batches);
    for (const Recompute& recompute : recomputes) {
      for (const auto& [name, values] : gradients(testing::cpu(), decoder, batches, recompute)) {
        EXPECT_TRUE(same_bits(values, recorded.at(name))) << family << " " << name;
      }
    }
  }
}

TEST(DecoderTest, NumberOfThreadsChangesNoBit) {
  std::vector<Grads> results;
  for (const int threads : {1, 2, 5}) {
    const auto stream = Stream::open({}, threads);
    Decoder decoder(*stream, parse_decoder_config(testing::small_config(), "config.json"), DType::float32);
    decoder.initialize(*stream, 3);
    results.push_back(gradients(*stream, decoder, {pack_all(*stream, random_samples({61, 7, 100}))}));
  }
  for (size_t i = 1; i < results.size(); ++i) {
    for (const auto& [name, values] : results[i]) EXPECT_TRUE(same_bits(values, results[0].at(name))) << name;
  }
}

TEST(DecoderTest, LogProbabilitiesAddUpToTheLoss) {
  Decoder decoder = testing::small_decoder(4);
  const Batch batch = pack_all(testing::cpu(), random_samples({19, 8}));
  const auto loss = decoder.loss(Execution{testing::cpu()}, batch, 1.0F);
  double sum = 0;
  for (const float value : decoder.token_log_probabilities(testing::cpu(), batch).to_host<float>(testing::cpu())) {
    EXPECT_LE(value, 0);
    sum -= value;
  }
  EXPECT_EQ(loss.target_count.to_host<int64_t>(testing::cpu())[0], batch.predicted);
  EXPECT_NEAR(sum, loss.loss_sum.to_host<double>(testing::cpu())[0], 1e-5 * sum);
  EXPECT_NEAR(loss.loss.value.to_host<float>(testing::cpu())[0], sum, 1e-5 * sum);
}

TEST(DecoderTest, InitialWeightsDependOnSeedAndNameOnly) {
  Decoder a = testing::small_decoder(5);
  Decoder b = testing::small_decoder(5);
  Decoder c = testing::small_decoder(6);
  const NamedTensors first = named_weights(a);
  const NamedTensors other_seed = named_weights(c);
  std::vector<float> previous;
  for (const auto& [name, tensor] : named_weights(b)) {
    const std::vector<float> values = tensor.to_host<float>(testing::cpu());
    EXPECT_EQ(values, first.at(name).to_host<float>(testing::cpu())) << name;
    if (tensor.dim() == 1) {
      EXPECT_EQ(values, std::vector<float>(values.size(), 1.0F)) << name;
      continue;
    }
    EXPECT_NE(values, other_seed.at(name).to_host<float>(testing::cpu())) << name;
    EXPECT_NE(values, previous) << name;
    previous = values;
    double square = 0;
    for (const float value : values) square += static_cast<double>(value) * value;
    // 0.15 is the configuration's initializer_range; at least 512 values: a standard error of 3 %.
    EXPECT_NEAR(std::sqrt(square / static_cast<double>(values.size())), 0.15, 0.15 * 0.15) << name;
  }
}

TEST(DecoderTest, BiasesStartAtZero) {
  Decoder decoder(testing::cpu(),
                  parse_decoder_config(testing::small_config(R"("attention_bias": true, "mlp_bias": true,)"), "x"),
                  DType::float32);
  decoder.initialize(testing::cpu(), 1);
  int biases = 0;
  for (const auto& [name, tensor] : named_weights(decoder)) {
    if (!name.ends_with(".bias")) continue;
    ++biases;
    for (const float value : tensor.to_host<float>(testing::cpu())) EXPECT_EQ(value, 0.0F) << name;
  }
  EXPECT_EQ(biases, 2 * 7);
}

TEST(PackTest, LaysDocumentsOutOneAfterTheOther) {
  const std::vector<int32_t> ids = {5, 6, 7};
  const std::vector<int32_t> targets = {6, runtime::ops::ignored_target, 1};
  const std::vector<Document> documents = {{ids, targets}, {std::span(ids).first(1)}};
  const Batch batch = pack(testing::cpu(), documents);
  EXPECT_EQ(batch.tokens, 4);
  EXPECT_EQ(batch.documents, 2);
  EXPECT_EQ(batch.max_length, 3);
  EXPECT_EQ(batch.predicted, 2);
  EXPECT_EQ(batch.ids.to_host<int32_t>(testing::cpu()), (std::vector<int32_t>{5, 6, 7, 5}));
  EXPECT_EQ(batch.positions.to_host<int32_t>(testing::cpu()), (std::vector<int32_t>{0, 1, 2, 0}));
  EXPECT_EQ(batch.cu_seqlens.to_host<int32_t>(testing::cpu()), (std::vector<int32_t>{0, 3, 4}));
  EXPECT_EQ(batch.targets.to_host<int32_t>(testing::cpu()), (std::vector<int32_t>{6, -100, 1, -100}));
}

TEST(PackTest, RefusesWhatDoesNotFit) {
  const std::vector<int32_t> ids = {1, 2};
  EXPECT_THROW(pack(testing::cpu(), {}), runtime::Error);
  EXPECT_THROW(pack(testing::cpu(), std::vector<Document>{{}}), runtime::Error);
  EXPECT_THROW(pack(testing::cpu(), std::vector<Document>{{ids, std::span(ids).first(1)}}), runtime::Error);
}

TEST(PackTest, LabelsShiftOneToTheLeft) {
  const std::vector<int32_t> labels = {-100, 4, 5};
  EXPECT_EQ(shift_labels(labels), (std::vector<int32_t>{4, 5, -100}));
  EXPECT_TRUE(shift_labels({}).empty());
}

}  // namespace
}  // namespace subspect::model
