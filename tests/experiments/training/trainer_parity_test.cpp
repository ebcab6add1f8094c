// 50 optimizer steps against TRL's SFTTrainer (tools/fixtures/trainer_runs.py): accumulation over micro-batches with
// different numbers of targets, warm-up, cosine schedule, clipping; in float32, and in bfloat16 with float32 masters.
#include <gtest/gtest.h>

#include <cmath>

#include "experiments/training/trainer.h"
#include "model/checkpoint.h"
#include "runtime/io/safetensors.h"
#include "tests/experiments/training/tiny_training.h"
#include "tests/fidelity.h"

namespace subspect::experiments {
namespace {

namespace fs = std::filesystem;
using runtime::DType;
using subspect::tests::expect_within;

constexpr size_t steps = 50;
constexpr size_t sequences_of_step = 8;
const fs::path fixtures = fs::path(SUBSPECT_SOURCE_DIR) / "tests" / "fixtures";

/// What a run leaves behind; weights by checkpoint name.
struct Trained {
  std::vector<double> losses, norms, rates;
  std::map<std::string, std::vector<float>> weights;
};

class TrainerParity : public ::testing::Test {
 protected:
  std::vector<TrainingSequence> sequences() const {
    const std::vector<int32_t> prompts = golden_.tensor("prompt_lengths").to_host<int32_t>(*stream_);
    std::vector<TrainingSequence> all;
    for (size_t i = 0; i < prompts.size(); ++i) {
      TrainingSequence sequence;
      sequence.ids = golden_.tensor(fmt::format("ids.{}", i)).to_host<int32_t>(*stream_);
      std::vector<int32_t> labels = sequence.ids;
      std::fill_n(labels.begin(), prompts[i], runtime::ops::ignored_target);
      sequence.targets = model::shift_labels(labels);
      sequence.predicted = static_cast<int64_t>(sequence.ids.size()) - prompts[i];
      all.push_back(std::move(sequence));
    }
    return all;
  }

  /// @param micro_batch_tokens about two sequences each at 40, a step as a whole at 1000
  Trained train(DType dtype, int64_t micro_batch_tokens) const {
    model::Decoder decoder = model::load_decoder(*stream_, fixtures / "models" / "llama3", dtype);
    decoder.allocate_grads(*stream_);
    const std::vector<runtime::Parameter*> parameters = decoder.parameters();
    auto optimizer =
        runtime::optim::make_adamw(*stream_, parameters, {.lr = 2e-3}, {.master_weights = dtype == DType::bfloat16});
    Trainer trainer(*stream_, decoder, std::move(optimizer),
                    {.schedule = {.kind = runtime::optim::ScheduleKind::cosine, .warmup_ratio = 0.1},
                     .total_steps = steps,
                     .micro_batch_tokens = micro_batch_tokens});
    const std::vector<TrainingSequence> data = sequences();
    const std::vector<const TrainingSequence*> pointers = testing::pointers(data);
    Trained trained;
    for (size_t step = 0; step < steps; ++step) {
      const StepResult result = trainer.step(std::span(pointers).subspan(step * sequences_of_step, sequences_of_step));
      trained.losses.push_back(result.loss);
      trained.norms.push_back(result.grad_norm);
      trained.rates.push_back(result.lr);
    }
    for (const runtime::Parameter* parameter : parameters) {
      const runtime::Tensor values = trainer.optimizer().weights(*parameter).part;
      for (const runtime::Parameter::Part& part : parameter->parts) {
        trained.weights[part.name] =
            values.narrow(0, part.row_begin, part.row_end - part.row_begin).clone(*stream_).to_host<float>(*stream_);
      }
    }
    return trained;
  }

  std::vector<float> values(const std::string& name) const { return golden_.tensor(name).to_host<float>(*stream_); }

  Trained golden(const std::string& prefix = "") const {
    Trained trained;
    for (const float loss : values(prefix + "losses")) trained.losses.push_back(static_cast<double>(loss));
    for (const std::string& name : golden_.names()) {
      if (name.starts_with(prefix + "weights.")) trained.weights[name.substr(prefix.size() + 8)] = values(name);
    }
    return trained;
  }

  Trained start() const {
    const auto file = runtime::io::SafetensorsFile::open(fixtures / "models" / "llama3" / "model.safetensors");
    Trained trained;
    for (const std::string& name : file.names()) trained.weights[name] = file.tensor(name).to_host<float>(*stream_);
    return trained;
  }

  std::shared_ptr<runtime::Stream> stream_ = runtime::Stream::open({}, 2);
  runtime::io::SafetensorsFile golden_ =
      runtime::io::SafetensorsFile::open(fixtures / "training" / "golden.safetensors");
};

double distance(const Trained& a, const Trained& b) {
  EXPECT_EQ(a.weights.size(), b.weights.size());
  double sum = 0;
  for (const auto& [name, values] : b.weights) {
    const std::vector<float>& other = a.weights.at(name);
    for (size_t i = 0; i < values.size(); ++i) sum += std::pow(static_cast<double>(values[i]) - other[i], 2);
  }
  return std::sqrt(sum);
}

/// Root of the mean square over the steps.
double loss_distance(const Trained& a, const Trained& b) {
  double sum = 0;
  for (size_t i = 0; i < steps; ++i) sum += std::pow(a.losses[i] - b.losses[i], 2);
  return std::sqrt(sum / static_cast<double>(steps));
}

TEST_F(TrainerParity, FiftyStepsInFloat32) {
  const Trained expected = golden();
  const double update = distance(expected, start());
  ASSERT_GT(update, 1.0);
  ASSERT_LT(expected.losses.back(), 0.75 * expected.losses.front()) << "nothing was learned";
  const std::vector<float> norms = values("grad_norms");
  const std::vector<float> rates = values("learning_rates");
  for (const int64_t micro_batch_tokens : {40, 1000}) {
    const Trained actual = train(DType::float32, micro_batch_tokens);
    for (size_t i = 0; i < steps; ++i) {
      const std::string where = fmt::format("step {}", i + 1);
      const auto relative = [&](double value, double truth) { return std::abs(value - truth) / truth; };
      expect_within("SFTTrainer, 50 steps: loss of each step (relative)",
                    relative(actual.losses[i], expected.losses[i]), 1e-4, where);
      expect_within("SFTTrainer, 50 steps: norm of the gradient (relative)",
                    relative(actual.norms[i], static_cast<double>(norms[i])), 1e-4, where);
      expect_within("SFTTrainer, 50 steps: learning rate", std::abs(actual.rates[i] - static_cast<double>(rates[i])),
                    1e-9, where);
    }
    expect_within("SFTTrainer, 50 steps: final weights (of the update's norm)", distance(actual, expected) / update,
                  1e-4, fmt::format("micro_batch_tokens {}", micro_batch_tokens));
  }
}

/// Autocast of float32 weights and bfloat16 weights with masters: how far two right runs in bfloat16 are apart.
TEST_F(TrainerParity, FiftyStepsInBfloat16) {
  const Trained first = golden("bf16.0.");
  const Trained second = golden("bf16.1.");
  const Trained actual = train(DType::bfloat16, 40);
  const double spread = distance(first, second);
  const double loss_spread = loss_distance(first, second);
  for (const Trained* expected : {&first, &second}) {
    expect_within("SFTTrainer, 50 steps in bfloat16: final weights (of the spread)",
                  distance(actual, *expected) / spread, 2.0, "");
    expect_within("SFTTrainer, 50 steps in bfloat16: losses (of the spread)",
                  loss_distance(actual, *expected) / loss_spread, 2.0, "");
  }
}

}  // namespace
}  // namespace subspect::experiments
