// Checkpoints of a training run: bitwise continuation, one at a time, and what does not belong.
#include "experiments/training/train_state.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>

#include "runtime/error.h"
#include "tests/experiments/training/tiny_training.h"

namespace subspect::experiments {
namespace {

namespace fs = std::filesystem;
using runtime::optim::StateFormat;
using testing::pointers;
using testing::random_sequences;
using testing::TinyTraining;

class TrainStateTest : public ::testing::Test {
 protected:
  TrainStateTest() {
    std::string name = (fs::temp_directory_path() / "subspect-state-XXXXXX").string();
    directory_ = mkdtemp(name.data());
  }
  ~TrainStateTest() override { fs::remove_all(directory_); }

  void save(TinyTraining& tiny, int64_t step, uint64_t data = 1) {
    save_train_state(tiny.stream(), directory_, tiny.decoder(), tiny.trainer().optimizer(),
                     {.step = step, .tokens = 100 * step, .seconds = 0.1 * static_cast<double>(step), .data = data});
  }
  std::optional<TrainPosition> load(TinyTraining& tiny, uint64_t data = 1) {
    return load_train_state(tiny.stream(), directory_, tiny.decoder(), tiny.trainer().optimizer(), data);
  }
  size_t files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()));
  }

  fs::path directory_;
};

/// Runs of one kind of number formats: each call makes a new one.
using MakeTraining = std::function<std::unique_ptr<TinyTraining>()>;

class TrainStateOfFormatTest : public TrainStateTest, public ::testing::WithParamInterface<MakeTraining> {};

TEST_P(TrainStateOfFormatTest, ContinuesBitwise) {
  const auto sequences = random_sequences(5, 4, 12, 1);
  const auto straight_run = GetParam()();
  TinyTraining& straight = *straight_run;
  for (int i = 0; i < 6; ++i) straight.trainer().step(pointers(sequences));

  const auto before = GetParam()();
  for (int i = 0; i < 3; ++i) before->trainer().step(pointers(sequences));
  save(*before, 3);
  const auto after_run = GetParam()();
  TinyTraining& after = *after_run;
  const auto position = load(after);
  ASSERT_TRUE(position.has_value());
  EXPECT_EQ(position->step, 3);
  EXPECT_EQ(position->tokens, 300);
  EXPECT_EQ(position->seconds, 0.1 * 3);
  EXPECT_EQ(after.trainer().steps(), 3);
  for (int i = 0; i < 3; ++i) after.trainer().step(pointers(sequences));
  EXPECT_EQ(after.weights(), straight.weights());
}

std::unique_ptr<TinyTraining> in_bfloat16(const StateFormat& format) {
  return std::make_unique<TinyTraining>(TrainerOptions{}, 2, TinyTraining::Rule::adamw, 1e-2, runtime::DType::bfloat16,
                                        format);
}

constexpr StateFormat with_codes{.master_weights = true, .int8_moments = true, .smallest_int8_tensor = 300};
constexpr StateFormat rounded_stochastically{
    .stochastic_rounding = true, .seed = 3, .int8_moments = true, .smallest_int8_tensor = 300};

INSTANTIATE_TEST_SUITE_P(Formats, TrainStateOfFormatTest,
                         ::testing::Values(MakeTraining([] { return std::make_unique<TinyTraining>(); }),
                                           MakeTraining([] { return in_bfloat16({.master_weights = true}); }),
                                           MakeTraining([] { return in_bfloat16(with_codes); }),
                                           MakeTraining([] { return in_bfloat16(rounded_stochastically); })));

TEST_F(TrainStateTest, StateInAnotherFormatIsAnError) {
  const auto coded = in_bfloat16(with_codes);
  save(*coded, 2);
  const auto plain = in_bfloat16({.master_weights = true});
  EXPECT_THROW(load(*plain), runtime::Error);
}

TEST_F(TrainStateTest, NothingToRestoreInAnEmptyOrMissingFolder) {
  TinyTraining tiny;
  EXPECT_FALSE(load(tiny).has_value());
  fs::remove_all(directory_);
  EXPECT_FALSE(load(tiny).has_value());
}

TEST_F(TrainStateTest, OneCheckpointIsKeptAndTheNewestWins) {
  TinyTraining tiny;
  save(tiny, 9);
  EXPECT_EQ(files(), 1U);
  fs::copy_file(directory_ / "step-9.safetensors", directory_ / "kept");
  save(tiny, 10);
  EXPECT_FALSE(fs::exists(directory_ / "step-9.safetensors"));
  fs::rename(directory_ / "kept", directory_ / "step-9.safetensors");  // as after a kill before the removal
  EXPECT_EQ(load(tiny)->step, 10);                                     // by number, not by name
  remove_train_state(directory_);
  EXPECT_EQ(files(), 0U);
}

TEST_F(TrainStateTest, HalfWrittenFilesOfAKilledProcessAreNoCheckpoints) {
  TinyTraining tiny;
  save(tiny, 2);
  std::ofstream(directory_ / "step-4.safetensors.tmp") << "half";
  std::ofstream(directory_ / "step-x.safetensors") << "other";
  EXPECT_EQ(load(tiny)->step, 2);
}

TEST_F(TrainStateTest, OtherDataIsAnError) {
  TinyTraining tiny;
  save(tiny, 2, 1);
  EXPECT_THROW(load(tiny, 2), runtime::Error);
}

TEST_F(TrainStateTest, AnotherOptimizerIsAnError) {
  TinyTraining sgd({}, 2, TinyTraining::Rule::sgd);
  save(sgd, 2);
  TinyTraining adamw;
  try {
    load(adamw);
    FAIL() << "the state of SGD was taken for AdamW's";
  } catch (const runtime::Error& error) {
    EXPECT_NE(std::string(error.what()).find("exp_avg"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace subspect::experiments
