// Interventions on the residual stream: against weights that cannot write along the direction, against additions by
// hand, in generation with and without the cache, and their errors.
#include "model/intervention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/checkpoint.h"
#include "model/generation/generate.h"
#include "runtime/error.h"
#include "runtime/io/safetensors.h"
#include "runtime/ops/rms_norm.h"
#include "runtime/random.h"
#include "tests/fidelity.h"
#include "tests/model/model_fixtures.h"

namespace subspect::model {
namespace {

using runtime::DType;
using runtime::Tensor;
using ::testing::HasSubstr;

runtime::Stream& cpu() {
  return testing::cpu();
}

std::vector<float> random_direction(int64_t hidden, uint64_t seed, float scale = 1.0F) {
  runtime::Random random(seed);
  std::vector<float> direction;
  for (int64_t d = 0; d < hidden; ++d) direction.push_back(scale * static_cast<float>(random.normal()));
  return direction;
}

std::vector<float> normalized(std::vector<float> direction) {
  double squares = 0.0;
  for (const float x : direction) squares += static_cast<double>(x) * x;
  for (float& x : direction) x = static_cast<float>(x / std::sqrt(squares));
  return direction;
}

/// The hidden states of all positions of two documents.
std::vector<Tensor> hidden_states(Decoder& decoder, const Intervention* intervention = nullptr) {
  const std::vector<std::vector<int32_t>> ids = {{5, 9, 3, 17, 30, 2, 41}, {7, 7, 12}};
  const std::vector<Document> documents = {{.ids = ids[0], .targets = {}}, {.ids = ids[1], .targets = {}}};
  std::vector<Tensor> hidden;
  ForwardOptions options;
  options.hidden_states = &hidden;
  options.intervention = intervention;
  decoder.forward({cpu()}, pack(cpu(), documents), options);
  return hidden;
}

/// r . x of every row.
std::vector<double> projections(const Tensor& states, const std::vector<float>& unit) {
  const std::vector<float> values = states.to_host<float>(cpu());
  std::vector<double> result(values.size() / unit.size());
  for (size_t i = 0; i < values.size(); ++i) {
    result[i / unit.size()] += static_cast<double>(values[i]) * static_cast<double>(unit[i % unit.size()]);
  }
  return result;
}

/// W <- W - r (r^T W) for a weight [hidden, in] or a bias [hidden] that writes to the stream.
void orthogonalize_output(const Tensor& weight, const std::vector<float>& unit) {
  if (!weight.defined()) return;
  const size_t columns = static_cast<size_t>(weight.numel()) / unit.size();
  float* values = weight.data<float>();
  for (size_t c = 0; c < columns; ++c) {
    double along = 0.0;
    for (size_t d = 0; d < unit.size(); ++d) along += static_cast<double>(unit[d]) * values[d * columns + c];
    for (size_t d = 0; d < unit.size(); ++d) {
      values[d * columns + c] = static_cast<float>(values[d * columns + c] - along * static_cast<double>(unit[d]));
    }
  }
}

/// The same for the rows of the embedding [vocab, hidden].
void orthogonalize_rows(const Tensor& table, const std::vector<float>& unit) {
  const std::vector<double> along = projections(table, unit);
  float* values = table.data<float>();
  for (size_t i = 0; i < static_cast<size_t>(table.numel()); ++i) {
    values[i] = static_cast<float>(values[i] - along[i / unit.size()] * static_cast<double>(unit[i % unit.size()]));
  }
}

class InterventionTest : public ::testing::TestWithParam<std::string> {
 protected:
  Decoder decoder_ = load_decoder(cpu(), testing::fixture(GetParam()), DType::float32);
  std::vector<float> unit_ = normalized(random_direction(decoder_.config().hidden_size, 3));
};

TEST_P(InterventionTest, AblationEqualsOrthogonalWeights) {
  const Intervention ablation =
      Intervention::ablate(cpu(), random_direction(decoder_.config().hidden_size, 3, 7.0F), DType::float32);
  const std::vector<Tensor> plain = hidden_states(decoder_);
  const std::vector<Tensor> ablated = hidden_states(decoder_, &ablation);
  orthogonalize_rows(decoder_.embedding().value, unit_);
  for (DecoderLayer& layer : decoder_.layers()) {
    for (const runtime::Parameter* writes : {&layer.o, &layer.o_bias, &layer.down, &layer.down_bias}) {
      orthogonalize_output(writes->value, unit_);
    }
  }
  const std::vector<Tensor> expected = hidden_states(decoder_);
  ASSERT_EQ(ablated.size(), expected.size());
  for (size_t layer = 0; layer < expected.size(); ++layer) {
    EXPECT_LT(testing::relative_error(ablated[layer], expected[layer]), 1e-5) << layer;
    EXPECT_GT(testing::relative_error(ablated[layer], plain[layer]), 1e-3) << layer << ": the direction mattered";
  }
}

TEST_P(InterventionTest, AblatedStatesHaveNoProjection) {
  const Intervention ablation = Intervention::ablate(cpu(), unit_, DType::float32);
  const std::vector<Tensor> plain = hidden_states(decoder_);
  std::vector<Tensor> ablated = hidden_states(decoder_, &ablation);
  ablated.pop_back();  // the final norm's weight turns the state
  for (size_t layer = 0; layer < ablated.size(); ++layer) {
    double before = 0.0;
    for (const double along : projections(plain[layer], unit_)) before = std::max(before, std::abs(along));
    for (const double along : projections(ablated[layer], unit_)) EXPECT_LT(std::abs(along), 1e-5 * before) << layer;
  }
}

TEST_P(InterventionTest, AdditionMovesOneStateAndWhatFollows) {
  const int64_t hidden = decoder_.config().hidden_size;
  const std::vector<float> offset = random_direction(hidden, 4, 0.1F);
  const std::vector<Tensor> plain = hidden_states(decoder_);
  for (int64_t layer = 0; layer <= decoder_.config().layers; ++layer) {
    const Intervention addition = Intervention::add(cpu(), offset, layer, DType::float32);
    const std::vector<Tensor> steered = hidden_states(decoder_, &addition);
    for (size_t before = 0; static_cast<int64_t>(before) < layer; ++before) {
      EXPECT_EQ(testing::relative_error(steered[before], plain[before]), 0.0) << before;
    }
    if (layer == decoder_.config().layers) break;  // the last state is only seen behind the norm
    const auto at = static_cast<size_t>(layer);
    std::vector<float> expected = plain[at].to_host<float>(cpu());
    for (size_t i = 0; i < expected.size(); ++i) expected[i] += offset[i % offset.size()];
    EXPECT_LT(testing::relative_error(steered[at].to_host<float>(cpu()), expected), 1e-6) << layer;
    EXPECT_GT(testing::relative_error(steered.back(), plain.back()), 1e-4) << layer;
  }
}

/// Adding to the embedding output is the same as a table whose rows have the offset.
TEST_P(InterventionTest, AdditionAtTheEmbeddingEqualsAnotherTable) {
  const std::vector<float> offset = random_direction(decoder_.config().hidden_size, 5, 0.1F);
  const Intervention addition = Intervention::add(cpu(), offset, 0, DType::float32);
  const std::vector<Tensor> steered = hidden_states(decoder_, &addition);
  float* table = decoder_.embedding().value.data<float>();
  for (size_t i = 0; i < static_cast<size_t>(decoder_.embedding().value.numel()); ++i) {
    table[i] += offset[i % offset.size()];
  }
  const std::vector<Tensor> expected = hidden_states(decoder_);
  for (size_t layer = 0; layer < expected.size(); ++layer) {
    EXPECT_EQ(testing::relative_error(steered[layer], expected[layer]), 0.0) << layer;
  }
}

TEST_P(InterventionTest, GenerationWithTheCacheEqualsWholeSequences) {
  const std::vector<float> offset = random_direction(decoder_.config().hidden_size, 6);
  const std::vector<Intervention> interventions = {Intervention::ablate(cpu(), unit_, DType::float32),
                                                   Intervention::add(cpu(), offset, 1, DType::float32)};
  const std::vector<std::vector<int32_t>> prompts = {{3, 1, 4, 1, 5}, {9, 2}};
  const auto unsteered = generate(cpu(), decoder_, nullptr, prompts, {.max_new_tokens = 8});
  bool changed = false;
  for (const Intervention& intervention : interventions) {
    GenerationOptions options{.max_new_tokens = 8};
    options.intervention = &intervention;
    const auto completions = generate(cpu(), decoder_, nullptr, prompts, options);
    for (size_t i = 0; i < prompts.size(); ++i) {
      std::vector<int32_t> tokens = prompts[i];
      for (const int32_t chosen : completions[i].tokens) {
        const std::vector<Document> document = {{.ids = tokens, .targets = {}}};
        const Tensor hidden = decoder_.forward({cpu()}, pack(cpu(), document), {.intervention = &intervention}).value;
        const Tensor last = hidden.narrow(0, hidden.size(0) - 1, 1);
        const std::vector<float> scores = decoder_.logits(cpu(), last).to_host<float>(cpu());
        EXPECT_EQ(chosen, std::max_element(scores.begin(), scores.end()) - scores.begin());
        tokens.push_back(chosen);
      }
      changed = changed || completions[i].tokens != unsteered[i].tokens;
    }
  }
  EXPECT_TRUE(changed) << "no intervention had an effect";
}

INSTANTIATE_TEST_SUITE_P(Models, InterventionTest,
                         ::testing::Values("llama2", "llama_bias", "qwen2", "qwen3", "mistral", "seed_oss"),
                         [](const auto& model) { return model.param; });

/// What Transformers computes with hooks (tools/fixtures/steering_hooks.py).
class SteeringHooks : public ::testing::TestWithParam<std::string> {};

TEST_P(SteeringHooks, LogitsAndGreedyTokens) {
  const auto golden = runtime::io::SafetensorsFile::open(std::filesystem::path(SUBSPECT_SOURCE_DIR) / "tests" /
                                                         "fixtures" / "steering" / (GetParam() + ".safetensors"));
  Decoder decoder = load_decoder(cpu(), testing::fixture(GetParam()), DType::float32);
  const auto direction = golden.tensor("direction").to_host<float>(cpu());
  const std::vector<std::pair<std::string, Intervention>> interventions = {
      {"ablate", Intervention::ablate(cpu(), direction, DType::float32)},
      {"add", Intervention::add(cpu(), direction, 1, DType::float32)}};
  const std::vector<int32_t> ids = golden.tensor("ids").to_host<int32_t>(cpu());
  const std::vector<std::vector<int32_t>> prompts = {golden.tensor("prompt").to_host<int32_t>(cpu())};
  for (const auto& [name, intervention] : interventions) {
    const std::vector<Document> document = {{.ids = ids, .targets = {}}};
    const Tensor hidden = decoder.forward({cpu()}, pack(cpu(), document), {.intervention = &intervention}).value;
    tests::expect_within("Transformers with hooks: logits while a direction is ablated or added (relative)",
                         testing::relative_error(decoder.logits(cpu(), hidden), golden.tensor(name + ".logits")), 1e-5,
                         name);
    GenerationOptions options{.max_new_tokens = 16, .eos_ids = decoder.config().eos_ids};
    options.intervention = &intervention;
    const std::vector<int32_t> expected = golden.tensor(name + ".greedy").to_host<int32_t>(cpu());
    const std::vector<int32_t> tokens = generate(cpu(), decoder, nullptr, prompts, options)[0].tokens;
    EXPECT_EQ(tokens, expected) << name;
    tests::expect_within("Transformers with hooks: ids of greedy generation while a direction is ablated or added",
                         tokens == expected ? 0.0 : 1.0, 0.0, name);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, SteeringHooks,
                         ::testing::Values("llama_bias", "qwen2", "qwen3", "mistral", "seed_oss"),
                         [](const auto& model) { return model.param; });

TEST(Interventions, InBfloat16LittleIsLeftOfTheProjection) {
  Decoder decoder = testing::small_decoder(1, DType::bfloat16);
  const std::vector<float> unit = normalized(random_direction(32, 8));
  const Intervention ablation = Intervention::ablate(cpu(), unit, DType::bfloat16);
  const std::vector<Tensor> plain = hidden_states(decoder);
  const std::vector<Tensor> ablated = hidden_states(decoder, &ablation);
  for (size_t layer = 0; layer + 1 < plain.size(); ++layer) {
    double before = 0.0, after = 0.0;
    for (const double along : projections(plain[layer].to(cpu(), DType::float32), unit)) before += along * along;
    for (const double along : projections(ablated[layer].to(cpu(), DType::float32), unit)) after += along * along;
    // The projection, the unit vector and the sum are each rounded to 8 bits.
    EXPECT_LT(std::sqrt(after), 0.02 * std::sqrt(before)) << layer;
  }
}

TEST(Interventions, AreForInferenceAndForDirectionsOfTheDecoder) {
  Decoder decoder = testing::small_decoder(1);
  const auto message = [&](const Intervention& intervention) {
    try {
      hidden_states(decoder, &intervention);
    } catch (const runtime::Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  const std::vector<float> offset = random_direction(32, 1), narrow = random_direction(16, 1);
  EXPECT_EQ(message(Intervention::add(cpu(), offset, 2, DType::float32)), "no error");
  EXPECT_THAT(message(Intervention::add(cpu(), offset, 3, DType::float32)), HasSubstr("a layer of 0 to 2"));
  EXPECT_THAT(message(Intervention::add(cpu(), offset, -1, DType::float32)), HasSubstr("Received -1"));
  EXPECT_THAT(message(Intervention::ablate(cpu(), narrow, DType::float32)), HasSubstr("32 numbers"));
  EXPECT_THAT(message(Intervention::ablate(cpu(), offset, DType::bfloat16)), HasSubstr("bfloat16"));
  const std::vector<float> nothing(32, 0.0F);
  EXPECT_THROW(Intervention::ablate(cpu(), nothing, DType::float32), runtime::Error);

  const Intervention ablation = Intervention::ablate(cpu(), offset, DType::float32);
  const std::vector<int32_t> ids = {1, 2, 3}, targets = {2, 3, runtime::ops::ignored_target};
  const std::vector<Document> document = {{.ids = ids, .targets = targets}};
  const Batch batch = pack(cpu(), document);
  runtime::Tape tape(cpu());
  EXPECT_THROW(decoder.forward({cpu(), &tape}, batch, {.intervention = &ablation}), runtime::Error);

  const float plain = decoder.token_log_probabilities(cpu(), batch).to_host<float>(cpu())[0];
  EXPECT_NE(decoder.token_log_probabilities(cpu(), batch, {.intervention = &ablation}).to_host<float>(cpu())[0], plain);
}

}  // namespace
}  // namespace subspect::model
