// Training on two ranks, each with an emulated GPU: weights and gradients travel through the stand-in for NCCL, which
// checks what the ranks send each other.
#include "runtime/comm/world.h"
#include "tests/simt/product/emulated_program.h"

namespace subspect::tests {
namespace {

class EmulatedRanks : public EmulatedProgram {
 protected:
  void SetUp() override {
    if (!runtime::comm::built_with_mpi) GTEST_SKIP() << "built without MPI";
    EmulatedProgram::SetUp();
    write_tiny_model();
    write("train.yaml", R"(kind: study
stages:
  words: {kind: tokenizer, vocab_size: 300, data: [{synthetic: facts, count: 20}]}
  model:
    kind: finetune
    model: {config: tiny.json, tokenizer: words}
    data: [{synthetic: facts, count: 8}]
    max_seq_length: 24
    global_batch: 4
    max_steps: 2
    optimizer: {name: adamw, lr: 1.0e-2}
    precision: {compute: float32}
    distributed: {shares: 2}
)");
  }
  void TearDown() override {
    if (!folder_.empty()) EmulatedProgram::TearDown();
  }

  void train(const std::string& device, int ranks, const std::string& out) const {
    const Result result = run(
        {"run", "train.yaml", "--device", device, "--nproc", std::to_string(ranks), "--threads", "1", "--out", out});
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
};

TEST_F(EmulatedRanks, TwoRanksTrainAsOneAndAsTheCpu) {
  train("cpu", 2, "cpu");
  train("cuda", 1, "one");
  train("cuda", 2, "two");
  const auto cpu = lines("cpu/stages/model/metrics.jsonl");
  const auto one = lines("one/stages/model/metrics.jsonl");
  const auto two = lines("two/stages/model/metrics.jsonl");
  ASSERT_EQ(two.size(), 2U);
  for (size_t i = 0; i < two.size(); ++i) {
    EXPECT_EQ(two[i]["loss"], one[i]["loss"]);
    EXPECT_EQ(two[i]["grad_norm"], one[i]["grad_norm"]);
    EXPECT_NEAR(two[i]["loss"].get<double>(), cpu[i]["loss"].get<double>(), 1e-4);
  }
  const std::string model = "/stages/model/model/model.safetensors";
  EXPECT_EQ(read("two" + model), read("one" + model));
}

}  // namespace
}  // namespace subspect::tests
