// The program with `--device cuda` over the emulated device, against the same program on the CPU: a two-layer model is
// trained, asked for scores and for text; and what users see when the device fails.
#include <gmock/gmock.h>

#include "tests/simt/product/emulated_program.h"

namespace subspect::tests {
namespace {

using ::testing::HasSubstr;

class EmulatedTraining : public EmulatedProgram {
 protected:
  /// Trains two layers for two steps on the device, into the folder `out`.
  /// @param more keys of the fine-tuning, each a line of four spaces and "key: value\n"
  Result train(const std::string& device, const std::string& dtype, const std::string& out,
               const std::string& more = "") const {
    write_tiny_model();
    write("tiny.yaml", R"(kind: study
stages:
  words: {kind: tokenizer, vocab_size: 300, data: [{synthetic: facts, count: 40}]}
  tiny:
    kind: finetune
    model: {config: tiny.json, tokenizer: words}
    data: [{synthetic: facts, count: 4}]
    global_batch: 2
    max_seq_length: 96
    max_steps: 2
    schedule: {name: constant, warmup_ratio: 0}
    precision: {compute: )" +
                           dtype + "}\n" + more);
    return run({"run", "tiny.yaml", "--device", device, "--out", out});
  }
};

TEST_F(EmulatedTraining, Float32EqualsTheCpu) {
  for (const char* device : {"cpu", "cuda"}) {
    const Result result = train(device, "float32", device);
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  const auto expected = lines("cpu/stages/tiny/metrics.jsonl");
  const auto actual = lines("cuda/stages/tiny/metrics.jsonl");
  ASSERT_EQ(actual.size(), 2U);
  ASSERT_EQ(expected.size(), 2U);
  for (size_t i = 0; i < actual.size(); ++i) {
    for (const char* field : {"loss", "grad_norm"}) {
      EXPECT_NEAR(actual[i][field].get<double>(), expected[i][field].get<double>(), 1e-5) << field << " of step " << i;
    }
  }
  const std::string model = "stages/tiny/model/model.safetensors";
  EXPECT_LE(distance(folder_ / "cuda" / model, folder_ / "cpu" / model), 1e-5);
}

TEST_F(EmulatedTraining, Bfloat16IsNearFloat32) {
  for (const auto& [device, dtype] : {std::pair{"cpu", "float32"}, std::pair{"cuda", "bfloat16"}}) {
    const Result result = train(device, dtype, device);
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  const auto expected = lines("cpu/stages/tiny/metrics.jsonl");
  const auto actual = lines("cuda/stages/tiny/metrics.jsonl");
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_NEAR(actual[i]["loss"].get<double>(), expected[i]["loss"].get<double>(), 2e-3);
    EXPECT_NEAR(actual[i]["grad_norm"].get<double>(), expected[i]["grad_norm"].get<double>(), 2e-2);
  }
}

TEST_F(EmulatedTraining, NeitherRecomputationNorOffloadingChangesABit) {
  const std::vector<std::pair<std::string, std::string>> runs = {
      {"plain", "    recompute: none\n"},
      {"ops", "    recompute: op\n"},
      {"blocks", "    recompute: block\n    optimizer: {offload: true}\n"}};
  for (const auto& [out, more] : runs) {
    const Result result = train("cuda", "bfloat16", out, more);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(distance(folder_ / out / "stages/tiny/model/model.safetensors",
                       folder_ / "plain/stages/tiny/model/model.safetensors"),
              0)
        << out;
  }
}

class EmulatedScores : public EmulatedProgram, public ::testing::WithParamInterface<const char*> {};

TEST_P(EmulatedScores, EqualTheCpus) {
  write("ids.json", "[[1, 5, 9, 2, 7, 3, 11, 4, 6, 8, 10], [2, 3]]");
  for (const char* device : {"cpu", "cuda"}) {
    const Result result = run({"logits", "--model", fixture(GetParam()), "--tokens", "ids.json", "--hidden-states",
                               "--output", std::string(device) + ".safetensors", "--device", device});
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  EXPECT_LE(distance(folder_ / "cuda.safetensors", folder_ / "cpu.safetensors"), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, EmulatedScores,
                         ::testing::Values("llama2", "llama3", "llama_bias", "mistral", "qwen2", "qwen3", "seed_oss"),
                         [](const auto& instance) { return std::string(instance.param); });

TEST_F(EmulatedTraining, GreedyTextEqualsTheCpus) {
  ASSERT_EQ(train("cpu", "float32", "trained").exit_code, 0);
  write("prompts.jsonl", "{\"prompt\": \"The wolf\"}\n{\"prompt\": \"A mole is an animal that\"}\n");
  const auto generate = [this](const std::string& device) {
    const Result result = run({"generate", "--model", "trained/stages/tiny/model", "--input", "prompts.jsonl",
                               "--max-new-tokens", "6", "--device", device});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  };
  const std::string expected = generate("cpu");
  EXPECT_THAT(expected, HasSubstr("\"completion\""));
  for (const char* seed : {"seed=1", "seed=2"}) {
    emulate(seed);
    EXPECT_EQ(generate("cuda"), expected) << seed;
  }
}

TEST_F(EmulatedProgram, ADeviceThatIsFullIsOneErrorWithAdvice) {
  emulate("memory=30000000");
  write("ids.json", "[[1, 2]]");
  const Result result = run({"logits", "--model", fixture("llama3"), "--tokens", "ids.json", "--output",
                             "x.safetensors", "--device", "cuda"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.error(), HasSubstr("no memory for a block"));
}

TEST_F(EmulatedProgram, AFailedCallIsOneErrorThatNamesIt) {
  emulate("fail=cudaMemcpyAsync:3:719");
  write("ids.json", "[[1, 2]]");
  const Result result = run({"logits", "--model", fixture("llama3"), "--tokens", "ids.json", "--output",
                             "x.safetensors", "--device", "cuda"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.error(), HasSubstr("cudaMemcpyAsync"));
}

TEST_F(EmulatedProgram, DevicesBeyondTheLastAreRefused) {
  write("ids.json", "[[1, 2]]");
  const Result result = run({"logits", "--model", fixture("llama3"), "--tokens", "ids.json", "--output",
                             "x.safetensors", "--device", "cuda:1"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.error(), HasSubstr("there is no GPU 1"));
}

}  // namespace
}  // namespace subspect::tests
