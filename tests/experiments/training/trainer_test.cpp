// The trainer: what must not change the gradients (packing, micro-batches, threads, recomputation), the scale of the
// loss, clipping, and values that are not finite.
#include "experiments/training/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "runtime/error.h"
#include "tests/experiments/training/tiny_training.h"

namespace subspect::experiments {
namespace {

using testing::pointers;
using testing::random_sequences;
using testing::TinyTraining;
using Values = std::vector<std::vector<float>>;

struct Outcome {
  StepResult result;
  Values gradients;
};

Outcome gradients_of(const std::vector<TrainingSequence>& sequences, const TrainerOptions& options, int threads = 2) {
  TinyTraining tiny(options, threads);
  const StepResult result = tiny.trainer().accumulate_gradients(pointers(sequences));
  return {result, tiny.gradients()};
}

// Largest over parameters of ||a - b|| / ||b||.
double relative_error(const Values& a, const Values& b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    double error = 0;
    double norm = 0;
    for (size_t j = 0; j < a[i].size(); ++j) {
      error += std::pow(static_cast<double>(a[i][j]) - b[i][j], 2);
      norm += std::pow(static_cast<double>(b[i][j]), 2);
    }
    worst = std::max(worst, std::sqrt(error / norm));
  }
  return worst;
}

TEST(Trainer, PackedGradientsAreThoseOfOneByOne) {
  const auto sequences = random_sequences(13, 2, 30, 1);
  const Outcome packed = gradients_of(sequences, {.micro_batch_tokens = 10000});
  const Outcome alone = gradients_of(sequences, {.packing = false});
  EXPECT_LT(relative_error(packed.gradients, alone.gradients), 1e-5);
  EXPECT_NEAR(packed.result.loss, alone.result.loss, 1e-6);
}

TEST(Trainer, SizeOfMicroBatchesDoesNotChangeGradients) {
  const auto sequences = random_sequences(13, 2, 30, 2);
  const Outcome large = gradients_of(sequences, {.micro_batch_tokens = 10000});
  const Outcome small = gradients_of(sequences, {.micro_batch_tokens = 40});
  EXPECT_LT(relative_error(small.gradients, large.gradients), 1e-5);
}

TEST(Trainer, ThreadsChangeNoBit) {
  const auto sequences = random_sequences(13, 2, 60, 3);
  const Outcome one = gradients_of(sequences, {}, 1);
  for (const int threads : {2, 3, 5}) {
    const Outcome several = gradients_of(sequences, {}, threads);
    EXPECT_EQ(several.result.loss, one.result.loss) << threads;
    EXPECT_EQ(several.gradients, one.gradients) << threads;
  }
}

TEST(Trainer, RecomputationChangesNoBitAndSavesMemory) {
  const auto sequences = random_sequences(40, 20, 60, 4);
  const auto run = [&](const model::Recompute& recompute) {
    TinyTraining tiny({.recompute = recompute});
    tiny.stream().allocator()->reset_peak();
    for (int i = 0; i < 3; ++i) tiny.trainer().step(pointers(sequences));
    return std::pair(tiny.weights(), tiny.stream().allocator()->stats().peak_bytes);
  };
  const auto [recorded, recorded_peak] = run({});
  int64_t last_peak = recorded_peak;
  for (const model::Recompute& recompute :
       {model::Recompute{.ops = true}, model::Recompute{.blocks = model::Recompute::all_blocks}}) {
    const auto [recomputed, peak] = run(recompute);
    EXPECT_EQ(recorded, recomputed);
    EXPECT_LT(peak, last_peak);
    last_peak = peak;
  }
}

TEST(Trainer, LossIsTheMeanOverTheTargetsOfTheWholeStep) {
  // One long sequence with many targets and several short ones with few: a mean of means would weigh them alike.
  auto sequences = random_sequences(1, 60, 60, 5);
  for (TrainingSequence& sequence : random_sequences(6, 2, 4, 6)) sequences.push_back(std::move(sequence));
  const Outcome together = gradients_of(sequences, {.packing = false});
  double sum = 0;
  double mean_of_means = 0;
  int64_t predicted = 0;
  Values gradient_sum;
  for (const TrainingSequence& sequence : sequences) {
    const Outcome alone = gradients_of({sequence}, {});
    const auto weight = static_cast<double>(sequence.predicted);
    sum += alone.result.loss * weight;
    mean_of_means += alone.result.loss / static_cast<double>(sequences.size());
    predicted += sequence.predicted;
    if (gradient_sum.empty()) gradient_sum.assign(alone.gradients.size(), {});
    for (size_t i = 0; i < alone.gradients.size(); ++i) {
      gradient_sum[i].resize(alone.gradients[i].size());
      for (size_t j = 0; j < alone.gradients[i].size(); ++j) {
        gradient_sum[i][j] += static_cast<float>(weight) * alone.gradients[i][j];
      }
    }
  }
  for (std::vector<float>& parameter : gradient_sum) {
    for (float& g : parameter) g /= static_cast<float>(predicted);
  }
  EXPECT_EQ(together.result.predicted, predicted);
  EXPECT_LT(predicted, together.result.tokens);  // there are masked tokens
  EXPECT_NEAR(together.result.loss, sum / static_cast<double>(predicted), 1e-6);
  EXPECT_GT(std::abs(together.result.loss - mean_of_means), 1e-3);  // the case tells the two apart
  EXPECT_LT(relative_error(together.gradients, gradient_sum), 1e-5);
}

double update_norm(TinyTraining& tiny, const Values& before) {
  const Values after = tiny.weights();
  double sum = 0;
  for (size_t i = 0; i < after.size(); ++i) {
    for (size_t j = 0; j < after[i].size(); ++j) sum += std::pow(static_cast<double>(after[i][j]) - before[i][j], 2);
  }
  return std::sqrt(sum);
}

TEST(Trainer, ClippingLimitsTheNormOfTheUpdate) {
  const auto sequences = random_sequences(8, 5, 20, 7);
  const runtime::optim::Schedule constant{.kind = runtime::optim::ScheduleKind::constant};
  double norm = 0;
  for (const double limit : {0.0, 0.1}) {
    TinyTraining tiny({.schedule = constant, .max_grad_norm = limit}, 2, TinyTraining::Rule::sgd, 1.0);
    const Values before = tiny.weights();
    const StepResult result = tiny.trainer().step(pointers(sequences));
    if (limit == 0.0) {
      norm = result.grad_norm;
      ASSERT_GT(norm, 0.1);
      EXPECT_NEAR(update_norm(tiny, before), norm, 1e-4 * norm);  // plain SGD with rate 1: the update is the gradient
    } else {
      EXPECT_NEAR(result.grad_norm, norm, 1e-6 * norm);  // reported before clipping
      EXPECT_NEAR(update_norm(tiny, before), limit, 1e-4 * limit);
    }
  }
}

TEST(Trainer, RateFollowsTheScheduleFromStepZero) {
  const auto sequences = random_sequences(2, 5, 8, 8);
  TinyTraining tiny({.schedule = {.kind = runtime::optim::ScheduleKind::linear, .warmup_ratio = 0.5}, .total_steps = 4},
                    1, TinyTraining::Rule::adamw, 0.5);
  const Values before = tiny.weights();
  std::vector<double> rates;
  rates.push_back(tiny.trainer().step(pointers(sequences)).lr);
  EXPECT_EQ(tiny.weights(), before);  // the first step of a warm-up has rate 0
  for (int i = 0; i < 3; ++i) rates.push_back(tiny.trainer().step(pointers(sequences)).lr);
  EXPECT_EQ(rates, (std::vector<double>{0.0, 0.25, 0.5, 0.25}));
}

TEST(Trainer, LossFallsOnWhatIsLearned) {
  const auto sequences = random_sequences(4, 10, 20, 9);
  TinyTraining tiny({.schedule = {.kind = runtime::optim::ScheduleKind::constant}});
  const double first = tiny.trainer().step(pointers(sequences)).loss;
  double last = first;
  for (int i = 0; i < 80; ++i) last = tiny.trainer().step(pointers(sequences)).loss;
  EXPECT_NEAR(first, std::log(40.0), 0.7);
  EXPECT_LT(last, 0.5 * first);
}

TEST(Trainer, Bfloat16WithMasterWeightsLearnsToo) {
  const auto sequences = random_sequences(4, 10, 20, 10);
  TinyTraining tiny({.schedule = {.kind = runtime::optim::ScheduleKind::constant}}, 2, TinyTraining::Rule::adamw, 1e-2,
                    runtime::DType::bfloat16);
  const double first = tiny.trainer().step(pointers(sequences)).loss;
  double last = first;
  for (int i = 0; i < 80; ++i) last = tiny.trainer().step(pointers(sequences)).loss;
  EXPECT_LT(last, 0.5 * first);
}

TEST(Trainer, LossThatIsNotFiniteStopsBeforeTheUpdate) {
  const auto sequences = random_sequences(3, 5, 8, 11);
  TinyTraining tiny;
  tiny.trainer().step(pointers(sequences));
  tiny.decoder().final_norm().value.data<float>()[3] = std::numeric_limits<float>::quiet_NaN();
  const Values before = tiny.weights();
  try {
    tiny.trainer().step(pointers(sequences));
    FAIL() << "a loss of NaN was accepted";
  } catch (const runtime::Error& error) {
    EXPECT_EQ(error.where(), "step 2");
    EXPECT_NE(error.what_happened().find("loss"), std::string::npos);
  }
  EXPECT_EQ(tiny.trainer().steps(), 1);
  const Values after = tiny.weights();
  for (size_t i = 0; i + 1 < before.size(); ++i) EXPECT_EQ(before[i], after[i]);
}

}  // namespace
}  // namespace subspect::experiments
