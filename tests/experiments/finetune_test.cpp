// Fine-tuning end to end on a tiny model: what it writes, and that interruptions and kills change no bit of it.
#include "experiments/finetune.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <thread>

#include "experiments/config/config.h"
#include "experiments/launch.h"
#include "model/checkpoint.h"
#include "runtime/error.h"
#include "runtime/interrupt.h"
#include "tests/experiments/training/tiny_training.h"

namespace subspect::experiments {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class FinetuneTest : public ::testing::Test {
 protected:
  static constexpr int steps = 24;  // 3 epochs of 30 examples in batches of 4

  FinetuneTest() {
    std::string name = (fs::temp_directory_path() / "subspect-finetune-XXXXXX").string();
    root_ = mkdtemp(name.data());
    fs::create_directories(root_ / "tokenizer");
    std::ofstream(root_ / "tokenizer" / "tokenizer.json") << testing::tiny_tokenizer_json();
    std::ofstream(root_ / "tokenizer" / "tokenizer_config.json") << testing::tiny_tokenizer_config();
    std::ofstream(root_ / "config.json") << testing::tiny_config_json();
    std::ofstream data(root_ / "data.jsonl");
    for (int i = 0; i < 30; ++i) {
      data << fmt::format(R"({{"prompt": "w{} w{}", "response": "w{} w{} w3"}})", 1 + i % 7, 1 + i % 11, 1 + i % 5,
                          1 + i % 13)
           << "\n";
    }
  }
  ~FinetuneTest() override {
    runtime::set_interrupt_requested(false);
    fs::remove_all(root_);
  }

  std::string yaml(const std::string& more = "") const {
    return "model: {config: config.json, tokenizer: tokenizer, init: random}\n"
           "data:\n  - {path: data.jsonl}\n"
           "prompt_format: custom\nprompt_template: \"{instruction} w9 {response}\"\nmax_seq_length: 32\nepochs: "
           "3\nglobal_batch: 4\n"
           "optimizer: {name: adamw, lr: 1.0e-2}\nschedule: {name: cosine, warmup_ratio: 0.1}\n"
           "checkpoint_every: 3\n" +
           more;
  }

  Finetune finetune(const std::string& more = "") const {
    Finetune experiment;
    experiment.config = config_from_yaml<FinetuneConfig>(yaml(more), root_);
    return experiment;
  }

  // Runs in root_/`name`, as the command does; errors go on to the caller.
  void run(Finetune experiment, const std::string& name, int threads = 2) const {
    const auto stream = runtime::Stream::open(runtime::Device{}, threads);
    runtime::Progress progress(runtime::Log::silent());
    RunDirOptions options;
    options.path = root_ / name;
    options.kind = "finetune";
    options.config_yaml = resolved_yaml(experiment);
    options.identity = resolved_yaml(experiment, true);
    run_in_directory(experiment, options, {*stream, runtime::Log::silent(), progress});
  }

  std::string weights(const std::string& name) const { return read(root_ / name / "model" / "model.safetensors"); }

  // Rows of metrics.jsonl without what depends on the time.
  std::vector<json> metrics(const std::string& name) const {
    std::ifstream file(root_ / name / "metrics.jsonl");
    std::vector<json> rows;
    for (std::string line; std::getline(file, line);) {
      json row = json::parse(line);
      for (const char* key : {"seconds", "tokens_per_second", "peak_bytes", "time"}) row.erase(key);
      rows.push_back(row);
    }
    return rows;
  }

  size_t checkpoints(const std::string& name) const {
    size_t count = 0;
    for (const auto& entry : fs::directory_iterator(root_ / name / "state")) {
      count += entry.path().extension() == ".safetensors" ? 1 : 0;
    }
    return count;
  }

  fs::path root_;
};

TEST_F(FinetuneTest, WritesMetricsAndAModelThatLoads) {
  run(finetune(), "run");
  const std::vector<json> rows = metrics("run");
  ASSERT_EQ(rows.size(), static_cast<size_t>(steps));
  EXPECT_EQ(rows.front()["step"], 1);
  EXPECT_EQ(rows.front()["lr"], 0);  // warm-up from zero
  EXPECT_EQ(rows.back()["step"], steps);
  EXPECT_EQ(rows.back()["epoch"], 3);
  EXPECT_LT(rows.back()["loss"], 0.7 * rows.front()["loss"].get<double>());
  // Cosine over the 21 steps behind ceil(0.1 * 24) = 3 of warm-up; the last applied rate is one step before the floor.
  EXPECT_NEAR(rows.back()["lr"], 1e-2 * 0.5 * (1 + std::cos(M_PI * 20 / 21)), 1e-12);
  for (const char* key : {"grad_norm", "tokens"}) EXPECT_GT(rows.back()[key], 0) << key;
  const auto stream = runtime::Stream::open(runtime::Device{}, 1);
  EXPECT_NO_THROW(model::load_decoder(*stream, root_ / "run" / "model"));
  EXPECT_TRUE(fs::exists(root_ / "run" / "model" / "tokenizer.json"));
  EXPECT_EQ(checkpoints("run"), 0U);  // done: nothing to resume
}

TEST_F(FinetuneTest, ThreadsAndRecomputationChangeNoBit) {
  run(finetune(), "two");
  run(finetune(), "one", 1);
  for (const char* mode : {"none", "op", "block"}) {
    run(finetune(fmt::format("recompute: {}\n", mode)), mode);
    EXPECT_EQ(weights("two"), weights(mode)) << mode;
  }
  EXPECT_EQ(weights("two"), weights("one"));
  EXPECT_EQ(metrics("two"), metrics("one"));
}

TEST_F(FinetuneTest, AnInterruptedRunGoesOnBitwise) {
  run(finetune(), "straight");
  int interruptions = 0;
  runtime::set_interrupt_requested(true);
  for (int attempt = 0; attempt < 5; ++attempt) {
    try {
      run(finetune(), "interrupted");
      FAIL() << "the interruption went unnoticed";
    } catch (const runtime::Interrupted& stop) {
      EXPECT_EQ(stop.exit_code(), 130);
      ++interruptions;
    }
    EXPECT_EQ(checkpoints("interrupted"), 1U);
    EXPECT_EQ(metrics("interrupted").size(), static_cast<size_t>(interruptions));  // one step each
  }
  runtime::set_interrupt_requested(false);
  run(finetune(), "interrupted");
  EXPECT_EQ(weights("interrupted"), weights("straight"));
  EXPECT_EQ(metrics("interrupted"), metrics("straight"));
}

TEST_F(FinetuneTest, StochasticRoundingGoesOnBitwiseAndFollowsTheSeed) {
  const auto in_bfloat16 = [&](const std::string& rounding, int64_t seed) {
    Finetune experiment = finetune("precision: {compute: bfloat16, master: bfloat16" + rounding + "}\n");
    experiment.config.optimizer.state = "int8";
    experiment.config.shuffle = false;
    experiment.config.seed = seed;
    return experiment;
  };
  const std::string stochastic = ", stochastic_rounding: true";
  run(in_bfloat16(stochastic, 1), "straight");
  run(in_bfloat16("", 1), "nearest");
  EXPECT_NE(weights("nearest"), weights("straight"));
  runtime::set_interrupt_requested(true);
  EXPECT_THROW(run(in_bfloat16(stochastic, 1), "interrupted"), runtime::Interrupted);
  EXPECT_EQ(metrics("interrupted").size(), 1U);
  runtime::set_interrupt_requested(false);
  run(in_bfloat16(stochastic, 1), "interrupted");
  EXPECT_EQ(weights("interrupted"), weights("straight"));
  EXPECT_EQ(metrics("interrupted"), metrics("straight"));
}

TEST_F(FinetuneTest, FormatsThatAreNotKnownAreUsageErrors) {
  EXPECT_THROW(finetune("precision: {compute: bfloat16, master: float32, stochastic_rounding: true}\n"),
               runtime::UsageError);  // there is nothing to round with float32 masters
  EXPECT_THROW(finetune("precision: {stochastic: true}\n"), runtime::UsageError);
  const auto with_state = [&](const std::string& state) {
    std::string text = yaml();
    text.replace(text.find("lr: 1.0e-2}"), 11, "lr: 1.0e-2, state: " + state + "}");
    return config_from_yaml<FinetuneConfig>(text, root_);
  };
  EXPECT_EQ(with_state("int8").optimizer.state, "int8");
  EXPECT_THROW(with_state("int4"), runtime::UsageError);
}

TEST_F(FinetuneTest, AKilledRunGoesOnBitwise) {
  run(finetune(), "straight");
  int kills = 0;
  for (const int wanted_rows : {2, 5, 10, 17, 23}) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      try {
        run(finetune(), "killed");
      } catch (...) {
        _exit(1);
      }
      _exit(0);
    }
    int status = 0;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (waitpid(child, &status, WNOHANG) == 0) {
      const std::string text =
          fs::exists(root_ / "killed" / "metrics.jsonl") ? read(root_ / "killed" / "metrics.jsonl") : "";
      if (std::count(text.begin(), text.end(), '\n') >= wanted_rows || std::chrono::steady_clock::now() > deadline) {
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        break;
      }
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    kills += WIFSIGNALED(status) ? 1 : 0;
    if (!WIFSIGNALED(status)) {
      EXPECT_EQ(WEXITSTATUS(status), 0);
    }
  }
  EXPECT_GE(kills, 1);
  run(finetune(), "killed");
  EXPECT_EQ(weights("killed"), weights("straight"));
  EXPECT_EQ(metrics("killed"), metrics("straight"));
}

TEST_F(FinetuneTest, LossThatDivergesNamesTheStepAndKeepsTheCheckpoint) {
  // A rate beyond all measure: weights, then the loss, become infinite.
  Finetune experiment = finetune("max_grad_norm: 0\n");
  experiment.config.optimizer = {.name = "sgd", .lr = 1e30};
  try {
    run(experiment, "diverges");
    FAIL() << "a diverging run went on";
  } catch (const runtime::Error& error) {
    EXPECT_EQ(error.where().rfind("step ", 0), 0U) << error.what();
    EXPECT_EQ(error.exit_code(), 1);
  }
  EXPECT_FALSE(fs::exists(root_ / "diverges" / "model"));
}

TEST_F(FinetuneTest, PlansWithoutTraining) {
  const Plan plan = finetune().plan(
      {.device = {}, .threads = 2, .flops_per_second = 1e10, .log = &runtime::Log::silent(), .planned_model = {}});
  const auto stream = runtime::Stream::open(runtime::Device{}, 1);
  model::Decoder decoder(*stream, model::read_decoder_config(root_ / "config.json"), runtime::DType::float32);
  int64_t parameters = 0;
  for (const auto* parameter : decoder.parameters()) parameters += parameter->value.numel();
  EXPECT_EQ(plan.parameters, parameters);
  EXPECT_GT(plan.device_bytes, parameters * 16);
  EXPECT_GT(plan.flops, 0);
  EXPECT_FALSE(plan.facts.empty());
}

TEST_F(FinetuneTest, MissingDataIsAUsageError) {
  Finetune experiment = finetune();
  experiment.config.data[0].path = InputPath((root_ / "nothing.jsonl").string());
  EXPECT_THROW(
      experiment.plan(
          {.device = {}, .threads = 1, .flops_per_second = 0, .log = &runtime::Log::silent(), .planned_model = {}}),
      runtime::UsageError);
}

TEST_F(FinetuneTest, StepsByEpochsOrByNumber) {
  FinetuneConfig config = finetune().config;
  EXPECT_EQ(config.total_steps(8), 24);
  config.epochs = 0.3;
  EXPECT_EQ(config.total_steps(8), 3);  // ceil(2.4), as Transformers
  config.max_steps = 5;
  EXPECT_EQ(config.total_steps(8), 5);
}

}  // namespace
}  // namespace subspect::experiments
