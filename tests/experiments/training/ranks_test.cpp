// Training on several ranks, as threads: the same bits whatever their number where the shares are the same, and what a
// failing rank does to the others.
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <stdexcept>

#include "experiments/training/train_state.h"
#include "experiments/training/trainer.h"
#include "runtime/error.h"
#include "tests/experiments/training/tiny_training.h"
#include "tests/runtime/comm/thread_ranks.h"

namespace subspect::experiments {
namespace {

using runtime::comm::Communicator;
using runtime::optim::Sharding;
using testing::pointers;
using testing::random_sequences;
using testing::TinyTraining;

struct Outcome {
  std::vector<double> losses;
  std::vector<double> norms;
  std::vector<std::vector<float>> weights;
  bool operator==(const Outcome&) const = default;
};

TinyTraining tiny(const Sharding& sharding, runtime::DType dtype = runtime::DType::float32) {
  return TinyTraining({.micro_batch_tokens = 64, .max_grad_norm = 0.5}, 1, TinyTraining::Rule::adamw, 1e-2, dtype,
                      {.master_weights = true}, sharding);
}

void train(TinyTraining& training, const std::vector<TrainingSequence>& sequences, int steps, Outcome& outcome) {
  for (int step = 0; step < steps; ++step) {
    const StepResult result = training.trainer().step(pointers(sequences));
    outcome.losses.push_back(result.loss);
    outcome.norms.push_back(result.grad_norm);
  }
  outcome.weights = training.weights();
}

Outcome outcome_of(Communicator* ranks, int shares, const std::vector<TrainingSequence>& sequences,
                   runtime::DType dtype = runtime::DType::float32) {
  TinyTraining training = tiny({ranks, shares}, dtype);
  Outcome outcome;
  train(training, sequences, 3, outcome);
  return outcome;
}

TEST(ThreadTraining, EqualSharesGiveEqualBitsOnEveryNumberOfRanks) {
  const auto sequences = random_sequences(21, 4, 40, 5);
  for (const runtime::DType dtype : {runtime::DType::float32, runtime::DType::bfloat16}) {
    const Outcome alone = outcome_of(nullptr, 4, sequences, dtype);
    for (const int count : {1, 2, 4}) {
      tests::on_ranks(count, [&](Communicator& ranks) {
        EXPECT_TRUE(outcome_of(&ranks, 4, sequences, dtype) == alone) << count << " ranks";
      });
    }
  }
}

TEST(ThreadTraining, OtherSharesGiveTheSameLossesButForRounding) {
  const auto sequences = random_sequences(21, 4, 40, 5);
  const Outcome alone = outcome_of(nullptr, 1, sequences);
  for (const int count : {2, 3}) {
    tests::on_ranks(count, [&](Communicator& ranks) {
      const Outcome outcome = outcome_of(&ranks, count, sequences);
      for (size_t i = 0; i < alone.losses.size(); ++i) {
        EXPECT_NEAR(outcome.losses[i], alone.losses[i], 1e-5);
        EXPECT_NEAR(outcome.norms[i], alone.norms[i], 1e-4);
      }
    });
  }
}

TEST(ThreadTraining, RanksWithoutSequencesTakePart) {
  const auto sequences = random_sequences(2, 4, 40, 6);
  const Outcome alone = outcome_of(nullptr, 4, sequences);
  tests::on_ranks(4, [&](Communicator& ranks) { EXPECT_TRUE(outcome_of(&ranks, 4, sequences) == alone); });
}

TEST(ThreadTraining, ACheckpointGoesOnUnderAnotherNumberOfRanks) {
  const auto sequences = random_sequences(21, 4, 40, 7);
  const std::filesystem::path folder = std::filesystem::path(::testing::TempDir()) / "ranks_state";
  const Outcome straight = outcome_of(nullptr, 4, sequences, runtime::DType::bfloat16);
  for (const std::pair<int, int>& counts : {std::pair{4, 2}, {1, 4}, {2, 1}}) {
    const int before = counts.first, after = counts.second;
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    Outcome first;
    tests::on_ranks(before, [&](Communicator& ranks) {
      TinyTraining training = tiny({&ranks, 4}, runtime::DType::bfloat16);
      Outcome outcome;
      train(training, sequences, 2, outcome);
      save_train_state(training.stream(), folder, training.decoder(), training.trainer().optimizer(), {.step = 2});
      if (ranks.is_first()) first = outcome;
    });
    tests::on_ranks(after, [&](Communicator& ranks) {
      TinyTraining training = tiny({&ranks, 4}, runtime::DType::bfloat16);
      const auto position =
          load_train_state(training.stream(), folder, training.decoder(), training.trainer().optimizer(), 0);
      ASSERT_TRUE(position.has_value());
      Outcome outcome = first;
      train(training, sequences, 1, outcome);
      EXPECT_TRUE(outcome == straight) << before << " then " << after;
    });
  }
  std::filesystem::remove_all(folder);
}

/// The others are in their backward pass or after it, and their messages wait for the one that failed.
TEST(ThreadTraining, ARankThatFailsLeavesNobodyWaiting) {
  const auto sequences = random_sequences(12, 4, 40, 8);
  EXPECT_THROW(tests::on_ranks(3,
                               [&](Communicator& ranks) {
                                 TinyTraining training = tiny({&ranks, 3});
                                 if (ranks.rank() == 1) throw std::runtime_error("no memory");
                                 training.trainer().step(pointers(sequences));
                               }),
               std::runtime_error);
}

TEST(ThreadTraining, AWeightThatIsNotANumberIsAnErrorOnEveryRank) {
  const auto sequences = random_sequences(12, 4, 40, 9);
  tests::on_ranks(2, [&](Communicator& ranks) {
    TinyTraining training = tiny({&ranks, 2});
    if (ranks.rank() == 1) {
      training.decoder().final_norm().value.data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
    }
    EXPECT_THROW(training.trainer().step(pointers(sequences)), runtime::Error);
  });
}

}  // namespace
}  // namespace subspect::experiments
