// Every family against Transformers, on the tiny models of tools/fixtures/transformers_models.py.
//
// Tolerances are relative to the norm. float32 carries 6e-8 per operation; two layers of a few dozen operations with
// other summation orders stay well below 1e-5 (states) and 1e-4 (gradients, which cancel more).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "model/checkpoint.h"
#include "model/decoder.h"
#include "model/generation/generate.h"
#include "tests/fidelity.h"
#include "tests/model/model_fixtures.h"

namespace subspect::model {
namespace {

using runtime::DType;
using runtime::Execution;
using runtime::Tensor;
using subspect::tests::expect_within;

class TransformersParity : public ::testing::TestWithParam<std::string> {
 protected:
  testing::Golden golden_{GetParam()};
  Decoder decoder_ = load_decoder(testing::cpu(), testing::fixture(GetParam()), DType::float32);

  /// All sequences packed into one batch, with their labels.
  Batch batch() {
    ids_ = golden_.lists("ids");
    for (const std::vector<int32_t>& labels : golden_.lists("labels")) targets_.push_back(shift_labels(labels));
    std::vector<Document> documents;
    for (size_t i = 0; i < ids_.size(); ++i) documents.push_back({ids_[i], targets_[i]});
    return pack(testing::cpu(), documents);
  }

 private:
  std::vector<std::vector<int32_t>> ids_;
  std::vector<std::vector<int32_t>> targets_;
};

TEST_P(TransformersParity, LogitsAndEveryHiddenState) {
  const Batch packed = batch();
  std::vector<Tensor> hidden;
  const Tensor last = decoder_.forward(Execution{testing::cpu()}, packed, {.hidden_states = &hidden}).value;
  const Tensor logits = decoder_.logits(testing::cpu(), last);
  ASSERT_EQ(static_cast<int64_t>(hidden.size()), decoder_.config().layers + 1);
  int64_t begin = 0;
  for (size_t i = 0; i < golden_.lists("ids").size(); ++i) {
    const Tensor expected = golden_.tensor("logits." + std::to_string(i));
    const int64_t length = expected.size(0);
    expect_within("Transformers: logits of a sequence (relative)",
                  testing::relative_error(logits.narrow(0, begin, length), expected), 1e-5,
                  fmt::format("sequence {}", i));
    for (size_t layer = 0; layer < hidden.size(); ++layer) {
      const Tensor state = golden_.tensor("hidden." + std::to_string(i) + "." + std::to_string(layer));
      expect_within("Transformers: each hidden state of a sequence (relative)",
                    testing::relative_error(hidden[layer].narrow(0, begin, length), state), 1e-5,
                    fmt::format("sequence {}, hidden state {}", i, layer));
    }
    begin += length;
  }
}

void expect_gradients(Decoder& decoder, const testing::Golden& golden) {
  for (const runtime::Parameter* parameter : decoder.parameters()) {
    for (const runtime::Parameter::Part& part : parameter->parts) {
      const Tensor grad = parameter->grad.narrow(0, part.row_begin, part.row_end - part.row_begin);
      expect_within("Transformers: gradient of each tensor (relative)",
                    testing::relative_error(grad, golden.tensor("grad." + part.name)), 1e-4, part.name);
    }
  }
}

TEST_P(TransformersParity, LossAndEveryGradient) {
  const Batch packed = batch();
  decoder_.allocate_grads(testing::cpu());
  runtime::Tape tape(testing::cpu());
  const auto loss = decoder_.loss({testing::cpu(), &tape}, packed, 1.0F / static_cast<float>(packed.predicted));
  tape.backward(loss.loss);
  EXPECT_EQ(loss.target_count.to_host<int64_t>(testing::cpu())[0], packed.predicted);
  const double mean = loss.loss_sum.to_host<double>(testing::cpu())[0] / static_cast<double>(packed.predicted);
  const auto expected = static_cast<double>(golden_.tensor("loss").to_host<float>(testing::cpu())[0]);
  expect_within("Transformers: loss", std::abs(mean - expected), 1e-5, "mean over all targets");
  expect_gradients(decoder_, golden_);
}

/// One document at a time into the same gradients: what packing must equal.
TEST_P(TransformersParity, GradientsOneDocumentAtATime) {
  decoder_.allocate_grads(testing::cpu());
  const int64_t predicted = batch().predicted;
  const std::vector<std::vector<int32_t>> ids = golden_.lists("ids");
  for (size_t i = 0; i < ids.size(); ++i) {
    const std::vector<int32_t> targets = shift_labels(golden_.lists("labels")[i]);
    const std::vector<Document> document = {{ids[i], targets}};
    runtime::Tape tape(testing::cpu());
    const auto loss = decoder_.loss({testing::cpu(), &tape}, pack(testing::cpu(), document),
                                    1.0F / static_cast<float>(predicted), {.recompute = {.ops = true, .blocks = 1}});
    tape.backward(loss.loss);
  }
  expect_gradients(decoder_, golden_);
}

TEST_P(TransformersParity, GreedyGeneration) {
  const std::vector<std::vector<int32_t>> prompts = golden_.lists("prompt");
  GenerationOptions options{.max_new_tokens = 16};
  options.eos_ids = read_eos_ids(testing::fixture(GetParam()), decoder_.config());
  for (const auto& [key, penalty] : {std::pair{"greedy", 1.0}, std::pair{"penalised", 1.3}}) {
    options.sampling.repetition_penalty = penalty;
    const std::vector<Completion> completions = generate(testing::cpu(), decoder_, nullptr, prompts, options);
    for (size_t i = 0; i < prompts.size(); ++i) {
      const std::vector<int32_t> expected = golden_.lists(key)[i];
      EXPECT_EQ(completions[i].tokens, expected) << key << " " << i;
      expect_within("Transformers: ids of greedy generation, with and without repetition penalty",
                    completions[i].tokens == expected ? 0.0 : 1.0, 0.0, key);
      const bool at_limit = completions[i].tokens.size() == 16 && completions[i].finish_reason == FinishReason::length;
      EXPECT_TRUE(at_limit || completions[i].finish_reason == FinishReason::stop) << key << " " << i;
    }
  }
}

/// bfloat16 keeps 8 bits: 2^-9 per rounding, and some tens of roundings on the way to the logits.
TEST_P(TransformersParity, Bfloat16StaysClose) {
  Decoder decoder = load_decoder(testing::cpu(), testing::fixture(GetParam()), DType::bfloat16);
  const Batch packed = batch();
  const Tensor hidden = decoder.forward(Execution{testing::cpu()}, packed).value;
  const Tensor logits = decoder.logits(testing::cpu(), hidden);
  int64_t begin = 0;
  for (size_t i = 0; i < golden_.lists("ids").size(); ++i) {
    const Tensor expected = golden_.tensor("logits." + std::to_string(i));
    const double error = testing::relative_error(logits.narrow(0, begin, expected.size(0)), expected);
    expect_within("Transformers: logits of a sequence in bfloat16 (relative to float32)", error, 0.05,
                  fmt::format("sequence {}", i));
    EXPECT_GT(error, 1e-5) << "sequence " << i << ": was this computed in bfloat16?";
    begin += expected.size(0);
  }
  decoder.allocate_grads(testing::cpu());
  runtime::Tape tape(testing::cpu());
  tape.backward(decoder.loss({testing::cpu(), &tape}, packed, 1.0F / static_cast<float>(packed.predicted)).loss);
  for (const runtime::Parameter* parameter : decoder.parameters()) {
    const runtime::Parameter::Part& part = parameter->parts.front();
    const Tensor grad = parameter->grad.narrow(0, part.row_begin, part.row_end - part.row_begin);
    EXPECT_LT(testing::relative_error(grad, golden_.tensor("grad." + part.name)), 0.15) << part.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, TransformersParity, ::testing::ValuesIn(testing::fixture_names()),
                         [](const auto& family) { return family.param; });

}  // namespace
}  // namespace subspect::model
