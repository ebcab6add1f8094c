// subspect run on several ranks: the same bits on every number of them, one writer, one error whatever fails, and going
// on with another number of ranks.
#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "runtime/comm/world.h"
#include "tests/tools/program.h"

namespace subspect::tests {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class Ranks : public ProgramTest {
 protected:
  void SetUp() override {
    if (!runtime::comm::built_with_mpi) GTEST_SKIP() << "built without MPI";
    ProgramTest::SetUp();
    write("tiny.json", R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 32,
      "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 64,
      "vocab_size": 320, "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "tie_word_embeddings": true})");
    write("train.yaml", R"(kind: study
stages:
  words: {kind: tokenizer, vocab_size: 300, data: [{synthetic: useful, count: 40}]}
  model:
    kind: finetune
    model: {config: tiny.json, tokenizer: words}
    data: [{synthetic: useful, count: 60}]
    prompt_format: raw
    max_seq_length: 64
    global_batch: 8
    micro_batch_tokens: 128
    max_steps: ${STEPS:-6}
    optimizer: {name: adamw, lr: 1.0e-3}
    distributed: {shares: "${SHARES:-4}", time_limit: "${LIMIT:-60}"}
    checkpoint_every: 2
)");
  }
  void TearDown() override {
    for (const char* name : {"STEPS", "SHARES", "LIMIT", "PMI_SIZE"}) ::unsetenv(name);
    if (!folder_.empty()) ProgramTest::TearDown();
  }

  static std::vector<std::string> command(int ranks, const std::string& out) {
    return {"run", "train.yaml", "--nproc", std::to_string(ranks), "--threads", "1", "--out", out};
  }
  Result run_on(int ranks, const std::string& out) const { return run(command(ranks, out)); }

  std::string model(const std::string& out) const { return read(out + "/stages/model/model/model.safetensors"); }

  /// A number of every step.
  std::vector<double> column(const std::string& out, const std::string& name) const {
    std::vector<double> values;
    std::istringstream lines(read(out + "/stages/model/metrics.jsonl"));
    for (std::string line; std::getline(lines, line);) values.push_back(nlohmann::json::parse(line)[name]);
    return values;
  }

  void wait_for_steps(const std::string& out, size_t steps) const {
    for (int i = 0; i < 3000 && column(out, "loss").size() < steps; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    ASSERT_GE(column(out, "loss").size(), steps);
  }

  /// The processes that mpirun, a child of `program`, started.
  static std::vector<pid_t> ranks_of(pid_t program) {
    std::vector<pid_t> ranks;
    for (const pid_t launcher : children(program)) {
      for (const pid_t rank : children(launcher)) ranks.push_back(rank);
    }
    return ranks;
  }

  /// Whether the process is gone, or only waits for someone to ask how it ended.
  static bool ends(pid_t process) {
    for (int i = 0; i < 500; ++i) {
      const auto [state, parent] = state_of(process);
      if (state == 0 || state == 'Z') return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }

 private:
  /// The state letter of a process and its parent; 0 where there is none.
  static std::pair<char, pid_t> state_of(pid_t process) {
    std::ifstream file("/proc/" + std::to_string(process) + "/stat");
    std::string text;
    std::getline(file, text);
    const size_t end = text.rfind(')');
    char state = 0;
    pid_t parent = 0;
    if (end != std::string::npos) std::istringstream(text.substr(end + 1)) >> state >> parent;
    return {state, parent};
  }

  static std::vector<pid_t> children(pid_t parent) {
    std::vector<pid_t> found;
    for (const auto& entry : fs::directory_iterator("/proc")) {
      const std::string name = entry.path().filename().string();
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      const pid_t process = std::stoi(name);
      if (state_of(process).second == parent) found.push_back(process);
    }
    return found;
  }
};

TEST_F(Ranks, EqualSharesGiveEqualFilesOnOneTwoAndFourRanks) {
  for (const int ranks : {1, 2, 4}) {
    const std::string out = "on-" + std::to_string(ranks);
    const Result result = run_on(ranks, out);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(model(out), model("on-1")) << ranks;
    EXPECT_EQ(column(out, "loss"), column("on-1", "loss"));
    EXPECT_EQ(column(out, "grad_norm"), column("on-1", "grad_norm"));
    EXPECT_EQ(column(out, "tokens"), column("on-1", "tokens"));
    const auto environment = nlohmann::json::parse(read(out + "/stages/model/environment.json"));
    EXPECT_EQ(environment["ranks"], ranks);
    EXPECT_EQ(environment["status"], "finished");
    EXPECT_TRUE(fs::exists(folder_ / out / "report.html"));
  }
  EXPECT_EQ(column("on-1", "loss").size(), 6U);
  const Result again = run_on(2, "on-4");
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_THAT(again.err, HasSubstr("done before"));
}

/// One share per rank: another order of sums, so other bits, and the same losses but for them.
TEST_F(Ranks, OneSharePerRankGivesTheSameLossesButForRounding) {
  ::setenv("SHARES", "0", 1);
  ASSERT_EQ(run_on(1, "one").exit_code, 0);
  ASSERT_EQ(run_on(3, "three").exit_code, 0);
  const auto one = column("one", "loss");
  const auto three = column("three", "loss");
  ASSERT_EQ(three.size(), one.size());
  for (size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(three[i], one[i], 1e-4 * one[i]);
}

TEST_F(Ranks, AKilledRankEndsAllAndAnotherNumberGoesOn) {
  ::setenv("STEPS", "150", 1);
  ASSERT_EQ(run_on(1, "straight").exit_code, 0);
  const pid_t program = start(command(2, "killed"));
  wait_for_steps("killed", 5);
  const std::vector<pid_t> ranks = ranks_of(program);
  ASSERT_EQ(ranks.size(), 2U);
  ::kill(ranks[1], SIGKILL);
  EXPECT_EQ(wait(program), 1);
  const Result result{.exit_code = 1, .out = {}, .err = read("err.txt")};
  EXPECT_THAT(result.error(), HasSubstr("a rank was ended by signal 9"));
  for (const pid_t rank : ranks) EXPECT_TRUE(ends(rank)) << "rank " << rank << " lives";
  const Result resumed = run_on(4, "killed");
  EXPECT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("going on after step"));
  EXPECT_EQ(model("killed"), model("straight"));
  EXPECT_EQ(column("killed", "loss"), column("straight", "loss"));
}

TEST_F(Ranks, ARankThatHangsEndsAllWithOneError) {
  ::setenv("STEPS", "100000", 1);
  ::setenv("LIMIT", "2", 1);
  const pid_t program = start(command(2, "hangs"));
  wait_for_steps("hangs", 2);
  const std::vector<pid_t> ranks = ranks_of(program);
  ASSERT_EQ(ranks.size(), 2U);
  ::kill(ranks[1], SIGSTOP);
  EXPECT_EQ(wait(program), 1);
  const Result result{.exit_code = 1, .out = {}, .err = read("err.txt")};
  EXPECT_THAT(result.error(), HasSubstr("another rank has not answered"));
}

TEST_F(Ranks, InterruptedRanksGoOnAsAnotherNumber) {
  ::setenv("STEPS", "150", 1);
  ASSERT_EQ(run_on(1, "straight").exit_code, 0);
  for (const auto& [before, after] : {std::pair{2, 4}, {4, 1}}) {
    const std::string out = "stopped-" + std::to_string(before);
    const pid_t program = start(command(before, out));
    wait_for_steps(out, 3);
    ::kill(program, SIGINT);
    EXPECT_EQ(wait(program), 130);
    const Result result{.exit_code = 130, .out = {}, .err = read("err.txt")};
    EXPECT_THAT(result.error(), HasSubstr("interrupted"));
    EXPECT_LT(column(out, "loss").size(), 150U);
    const Result resumed = run_on(after, out);
    EXPECT_EQ(resumed.exit_code, 0) << resumed.err;
    EXPECT_THAT(resumed.err, HasSubstr("going on after step"));
    EXPECT_EQ(model(out), model("straight"));
    EXPECT_EQ(column(out, "loss"), column("straight", "loss"));
  }
}

TEST_F(Ranks, WhatEveryRankRefusesIsSaidOnce) {
  write("bad.yaml", "kind: finetune\n");
  const Result usage = run({"run", "bad.yaml", "--nproc", "3"});
  EXPECT_EQ(usage.exit_code, 2);
  EXPECT_THAT(usage.error(), HasSubstr("the key 'model' is missing"));
  ::setenv("SHARES", "6", 1);
  const Result shares = run_on(4, "shares");
  EXPECT_EQ(shares.exit_code, 2);
  EXPECT_THAT(shares.error(), HasSubstr("6 shares cannot be dealt to 4 ranks"));
}

/// A launcher of another MPI: the processes do not find each other, and none of them runs.
TEST_F(Ranks, ProcessesThatDoNotFindEachOtherDoNotRun) {
  ::setenv("PMI_SIZE", "3", 1);
  const Result result = run({"run", "train.yaml", "--out", "never"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.error(), HasSubstr("started 3 ranks, but this process finds 1"));
  EXPECT_FALSE(fs::exists(folder_ / "never"));
}

class WithoutMpi : public ProgramTest {
 protected:
  void TearDown() override {
    ::unsetenv("OMPI_COMM_WORLD_SIZE");
    ProgramTest::TearDown();
  }
};

TEST_F(WithoutMpi, SeveralRanksAreAnError) {
  if (runtime::comm::built_with_mpi) GTEST_SKIP() << "built with MPI";
  write("d.yaml", "kind: data\nfiles: {useful: {corpus: useful, count: 20}}\n");
  EXPECT_THAT(run({"run", "d.yaml", "--nproc", "2"}).error(), HasSubstr("built without MPI"));
  ::setenv("OMPI_COMM_WORLD_SIZE", "2", 1);
  EXPECT_THAT(run({"run", "d.yaml"}).error(), HasSubstr("built without MPI"));
  EXPECT_FALSE(fs::exists(folder_ / "runs"));
}

}  // namespace
}  // namespace subspect::tests
