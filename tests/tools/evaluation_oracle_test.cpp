// `kind: evaluate` on two small models against lm-evaluation-harness (GSM8K) and Transformers (AdvBench with the
// study's settings), as tools/fixtures/lm_eval_runs.py recorded them. Needs the data sets; skips without them.
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "experiments/table.h"
#include "runtime/io/files.h"
#include "runtime/io/hash.h"
#include "tests/fidelity.h"
#include "tests/tools/program.h"

namespace subspect::tests {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path fixtures = fs::path(SUBSPECT_SOURCE_DIR) / "tests" / "fixtures";

class EvaluationOracle : public ProgramTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    const char* root = std::getenv("SUBSPECT_DATA");
    data_ = root != nullptr ? fs::path(root) : fs::path(SUBSPECT_SOURCE_DIR) / ".." / "shared" / "data";
    if (!fs::exists(data_ / "gsm8k") || !fs::exists(data_ / "advbench")) GTEST_SKIP() << "no data in " << data_;
    fs::copy(fixtures / "evaluation" / GetParam(), folder_ / "model");
    for (const char* file : {"tokenizer.json", "tokenizer_config.json"}) {
      fs::copy(fixtures / "tokenizers" / "llama2" / file, folder_ / "model" / file);
    }
    golden_ = json::parse(runtime::io::read_file(fixtures / "evaluation" / "golden.json"))[GetParam()];
  }

  /// The samples of a task.
  std::vector<json> evaluate(const std::string& task) const {
    write("run.yaml", "kind: evaluate\nmodels: {it: model}\ntasks: [" + task + "]\n");
    const Result result = run({"run", "run.yaml", "--out", "run", "--overwrite"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    std::vector<json> samples;
    std::istringstream lines(read("run/samples.jsonl"));
    for (std::string line; std::getline(lines, line);) samples.push_back(json::parse(line));
    return samples;
  }

  double figure(const std::string& metric) const {
    const auto table = experiments::Table::read_csv(folder_ / "run/results.csv");
    const experiments::Row* row = table.find({{"model", "it"}, {"metric", metric}});
    return row == nullptr ? -1.0 : table.cell(*row, "value").number();
  }

  fs::path data_;
  json golden_;
};

void expect_equal(const std::string& comparison, bool equal, const std::string& where) {
  expect_within(comparison, equal ? 0.0 : 1.0, 0.0, where);
}

TEST_P(EvaluationOracle, Gsm8kAsTheHarnessScoresIt) {
  const json& wanted = golden_["gsm8k"];
  const std::vector<json> samples =
      evaluate("{name: gsm8k, train: " + (data_ / "gsm8k/train.jsonl").string() +
               ", test: " + (data_ / "gsm8k/test.jsonl").string() + ", shots: 1, limit: 12}");
  ASSERT_EQ(samples.size(), wanted["samples"].size());
  for (size_t i = 0; i < samples.size(); ++i) {
    const json& expected = wanted["samples"][i];
    const std::string where = "question " + std::to_string(i);
    expect_equal("lm-eval gsm8k: prompts",
                 runtime::io::sha256(samples[i]["prompt"].get<std::string>()) == expected["prompt_sha256"], where);
    EXPECT_EQ(samples[i]["completion"], expected["completion"]) << where;
    expect_equal("lm-eval gsm8k: completions", samples[i]["completion"] == expected["completion"], where);
    const bool verdicts = samples[i]["strict_correct"].get<bool>() == (expected["strict-match"] == 1.0) &&
                          samples[i]["flexible_correct"].get<bool>() == (expected["flexible-extract"] == 1.0);
    expect_equal("lm-eval gsm8k: verdicts of both filters", verdicts, where);
  }
  const auto accuracy = [&](const std::string& metric, const char* key) {
    expect_within("lm-eval gsm8k: both accuracies", std::abs(figure(metric) - wanted[key].get<double>()), 1e-12,
                  metric);
  };
  accuracy("exact_match_strict", "strict");
  accuracy("exact_match_flexible", "flexible");
}

TEST_P(EvaluationOracle, AdvBenchAsTransformersGenerates) {
  const std::vector<json> samples =
      evaluate("{name: advbench, prompts: " + (data_ / "advbench/harmful_behaviors.csv").string() + ", limit: 12}");
  ASSERT_EQ(samples.size(), golden_["advbench"].size());
  for (size_t i = 0; i < samples.size(); ++i) {
    EXPECT_EQ(samples[i]["completion"], golden_["advbench"][i]) << i;
    expect_equal("Transformers: completions of AdvBench's prompts", samples[i]["completion"] == golden_["advbench"][i],
                 "prompt " + std::to_string(i));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, EvaluationOracle, ::testing::Values("random", "trained"),
                         [](const auto& model) { return std::string(model.param); });

}  // namespace
}  // namespace subspect::tests
