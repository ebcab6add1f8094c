// Run directories: whose they are, resuming, and what they record.
#include "experiments/run_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "runtime/io/files.h"

namespace subspect::experiments {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class RunDirTest : public ::testing::Test {
 protected:
  void SetUp() override {
    options_.path = fs::temp_directory_path() / ("subspect-run-" + std::to_string(::getpid()) + "-" +
                                                 ::testing::UnitTest::GetInstance()->current_test_info()->name());
    options_.kind = "finetune";
    options_.config_yaml = "kind: finetune\nseed: 1\nepochs: 3\n";
    options_.seed = 1;
    fs::remove_all(options_.path);
  }
  void TearDown() override { fs::remove_all(options_.path); }

  nlohmann::json environment() const {
    return nlohmann::json::parse(runtime::io::read_file(options_.path / "environment.json"));
  }

  std::string open_error() const {
    try {
      RunDir::open(options_);
    } catch (const runtime::Error& error) {
      return error.what();
    }
    return "no error";
  }

  RunDirOptions options_;
};

TEST_F(RunDirTest, WhatAKilledProcessHalfWroteIsRemoved) {
  { RunDir::open(options_); }
  fs::create_directories(options_.path / "state");
  const fs::path abandoned = options_.path / "state" / ".step-3.safetensors.4711.5.tmp";
  runtime::io::write_file_atomically(abandoned, "half a checkpoint");
  const fs::path folder = options_.path / ".model.4711.6.tmp";
  runtime::io::write_file_atomically(folder / "config.json", "half a model");
  runtime::io::write_file_atomically(options_.path / "state" / "step-2.safetensors", "a whole one");
  { RunDir::open(options_); }
  EXPECT_FALSE(fs::exists(abandoned));
  EXPECT_FALSE(fs::exists(folder));
  EXPECT_TRUE(fs::exists(options_.path / "state" / "step-2.safetensors"));
}

TEST_F(RunDirTest, ARunThatWasKilledBeforeItsFirstFileBegins) {
  runtime::io::write_file_atomically(options_.path / ".environment.json.4711.0.tmp", "{");
  EXPECT_FALSE(RunDir::open(options_).resumed());
  EXPECT_EQ(environment()["status"], "running");
}

TEST_F(RunDirTest, ARemovalThatWasKilledGoesOn) {
  { RunDir::open(options_).close(RunDir::Status::finished); }
  // As `--overwrite` leaves it that is killed after it removed the first file.
  runtime::io::write_file_atomically(options_.path / "environment.json", "{\"program\": \"subspect\"}");
  fs::remove(options_.path / "config.yaml");
  std::ofstream(options_.path / "results.csv") << "old";
  const RunDir dir = RunDir::open(options_);
  EXPECT_FALSE(dir.resumed());
  EXPECT_FALSE(dir.was_finished());
  EXPECT_FALSE(fs::exists(options_.path / "results.csv"));
  EXPECT_TRUE(fs::exists(options_.path / "config.yaml"));
}

TEST_F(RunDirTest, ARunWithoutItsConfigurationIsNotRemoved) {
  { RunDir::open(options_); }
  fs::remove(options_.path / "config.yaml");
  std::ofstream(options_.path / "results.csv") << "old";
  { EXPECT_TRUE(RunDir::open(options_).resumed()); }
  EXPECT_TRUE(fs::exists(options_.path / "results.csv"));
  fs::remove(options_.path / "config.yaml");
  options_.config_yaml = "kind: finetune\nseed: 2\n";
  EXPECT_THAT(open_error(), HasSubstr("the folder belongs to another configuration"));
}

TEST_F(RunDirTest, RecordsWhatRanAndHowItEnded) {
  {
    RunDir dir = RunDir::open(options_);
    EXPECT_FALSE(dir.was_finished());
    EXPECT_FALSE(dir.resumed());
    EXPECT_EQ(environment()["status"], "running");
    dir.note("deviations", "[\"rounding float16\"]");
    dir.close(RunDir::Status::interrupted, "ctrl-C");
  }
  EXPECT_EQ(runtime::io::read_file(options_.path / "config.yaml"), options_.config_yaml);
  auto json = environment();
  EXPECT_EQ(json["status"], "interrupted");
  EXPECT_EQ(json["seed"], 1);
  EXPECT_EQ(json["deviations"][0], "rounding float16");
  for (const char* key : {"version", "git_hash", "device", "started", "ended", "kind", "processor"}) {
    EXPECT_TRUE(json[key].is_string()) << key;
  }
  EXPECT_GT(json["libraries"].size(), 5U);
  {
    RunDir dir = RunDir::open(options_);
    EXPECT_TRUE(dir.resumed());
    EXPECT_FALSE(dir.was_finished());
    dir.close(RunDir::Status::finished);
  }
  json = environment();
  EXPECT_EQ(json["resumed"].size(), 1U);
  EXPECT_EQ(json["deviations"].size(), 1U);
  EXPECT_TRUE(RunDir::open(options_).was_finished());
  EXPECT_EQ(environment()["status"], "finished");
}

TEST_F(RunDirTest, AnotherConfigurationIsRefusedWithTheDifference) {
  { RunDir::open(options_).close(RunDir::Status::finished); }
  options_.config_yaml = "kind: finetune\nseed: 2\nepochs: 3\nmax_steps: 5\n";
  EXPECT_THAT(open_error(), HasSubstr("the folder belongs to another configuration: max_steps: none there, 5 here; "
                                      "seed: 1 there, 2 here"));
  EXPECT_THAT(open_error(), HasSubstr("--overwrite"));
  EXPECT_EQ(RunDir::look(options_), RunDir::Found::other);
  std::ofstream(options_.path / "results.csv") << "old";
  options_.overwrite = true;
  {
    RunDir dir = RunDir::open(options_);
    EXPECT_FALSE(dir.was_finished());
    EXPECT_FALSE(fs::exists(options_.path / "results.csv"));
  }
  EXPECT_EQ(RunDir::look(options_), RunDir::Found::unfinished);
}

TEST_F(RunDirTest, AFolderWithOtherFilesIsNeverTouched) {
  fs::create_directories(options_.path);
  std::ofstream(options_.path / "thesis.tex") << "years of work";
  std::ofstream(options_.path / ".thesis.tmp") << "hours of work";
  options_.overwrite = true;
  EXPECT_THAT(open_error(), HasSubstr("holds other files and is no run directory"));
  EXPECT_TRUE(fs::exists(options_.path / "thesis.tex"));
  EXPECT_TRUE(fs::exists(options_.path / ".thesis.tmp"));
}

TEST_F(RunDirTest, AFileInTheWayIsAUsageError) {
  std::ofstream(options_.path.string()) << "x";
  EXPECT_THROW(RunDir::open(options_), runtime::UsageError);
}

TEST_F(RunDirTest, OneProcessAtATime) {
  const RunDir first = RunDir::open(options_);
  EXPECT_THAT(open_error(), HasSubstr(options_.path.filename().string()));
  EXPECT_NE(open_error(), "no error");
}

TEST_F(RunDirTest, AnIdentityDecidesWhenItIsGiven) {
  options_.identity = "key one";
  { RunDir::open(options_).close(RunDir::Status::finished); }
  options_.config_yaml = "kind: finetune\nseed: 9\n";
  EXPECT_TRUE(RunDir::open(options_).was_finished());
  options_.identity = "key two";
  options_.replace_changed = true;
  EXPECT_FALSE(RunDir::open(options_).was_finished());
}

}  // namespace
}  // namespace subspect::experiments
