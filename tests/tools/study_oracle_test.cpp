// `subspect run` on tiny checkpoints against the study's formulas in numpy (tools/fixtures/study_formulas.py): the
// right readings, and each wrong one that an option of `deviations:` reproduces.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "experiments/table.h"
#include "tests/fidelity.h"
#include "tests/tools/program.h"

namespace subspect::tests {
namespace {

namespace fs = std::filesystem;
using experiments::NamedCells;
using experiments::Row;
using experiments::Table;
using ::testing::HasSubstr;
using ::testing::Not;

const fs::path fixtures = fs::path(SUBSPECT_SOURCE_DIR) / "tests" / "fixtures";

/// One table of the program, the golden table that it must equal, and the columns that tell rows apart.
struct Comparison {
  std::string name;
  std::string golden;
  std::string table = "results";
  std::vector<std::string> keys;
  double tolerance = 1e-7;
};

class StudyOracle : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    for (const char* model : {"base", "aligned", "useful", "harmful"}) {
      fs::copy(fixtures / "study" / model, folder_ / model);
      for (const char* file : {"tokenizer.json", "tokenizer_config.json"}) {
        fs::copy(fixtures / "tokenizers" / "llama2" / file, folder_ / model / file);
      }
    }
    for (const char* prompts : {"useful.jsonl", "harmful.jsonl"}) fs::copy(fixtures / "study" / prompts, folder_);
  }

  void run_yaml(const std::string& yaml, const std::string& deviations = "") {
    write("run.yaml", yaml + (deviations.empty() ? "" : "deviations: [" + deviations + "]\n"));
    const Result result = run({"run", "run.yaml", "--out", "run", "--overwrite"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_THAT(read("run/config.yaml"), HasSubstr("deviations: [" + deviations + "]"));
    expect_said(deviations);
  }

  /// The log and the report name what was asked for, and say nothing where nothing was.
  void expect_said(const std::string& deviations) const {
    const std::string log = read("run/log.txt");
    const std::string report = read("run/report.html");
    if (deviations.empty()) {
      EXPECT_THAT(log, Not(HasSubstr("deviation")));
      EXPECT_THAT(report, Not(HasSubstr("deviates from the method")));
      return;
    }
    for (size_t begin = 0; begin < deviations.size();) {
      const size_t end = std::min(deviations.find(", ", begin), deviations.size());
      const std::string name = deviations.substr(begin, end - begin);
      EXPECT_THAT(log, HasSubstr("a deviation from the method, as asked for: " + name));
      EXPECT_THAT(report, HasSubstr("<li>" + name));
      begin = end + 2;
    }
  }

  void compare(const Comparison& comparison) const {
    const Table golden = Table::read_csv(fixtures / "study" / (comparison.golden + ".csv"));
    const Table table = Table::read_csv(folder_ / "run" / (comparison.table + ".csv"));
    ASSERT_GT(golden.size(), 0U);
    for (const Row& expected : golden.rows()) {
      NamedCells key;
      std::string where;
      for (const std::string& column : comparison.keys) {
        key.emplace_back(column, golden.cell(expected, column));
        where += column + "=" + golden.cell(expected, column).text() + " ";
      }
      const Row* actual = table.find(key);
      ASSERT_NE(actual, nullptr) << "no row " << where;
      for (const std::string& column : golden.columns()) {
        if (std::count(comparison.keys.begin(), comparison.keys.end(), column) > 0) continue;
        const experiments::Cell& wanted = golden.cell(expected, column);
        const experiments::Cell& cell = table.cell(*actual, column);
        ASSERT_EQ(cell.empty(), wanted.empty()) << where << column;
        if (wanted.empty()) continue;
        const bool count = column == "k_a" || column == "k_b" || column == "d";
        expect_within(comparison.name + (count ? " (ranks)" : ""), std::abs(cell.number() - wanted.number()),
                      count ? 0.0 : comparison.tolerance, where + column);
      }
    }
  }
};

const std::vector<std::string> model_keys = {"model", "basis", "mode", "fraction"};
const std::vector<std::string> layer_keys = {"layer", "model", "basis", "mode", "fraction"};

constexpr const char* projection = R"(kind: projection
base: base
aligned: aligned
finetuned: {useful: useful, harmful: harmful}
bases: [top_k]
modes: [same, orth, opp]
fractions: [0.01, 0.25, 0.5, 0.75, 0.99, 1.5]
)";

TEST_F(StudyOracle, ProjectionOfModelsLayersAndTensors) {
  for (const char* method : {"gram", "exact"}) {
    run_yaml(std::string(projection) + "method: " + method + "\n");
    compare({"projection: energies and cosines", "projection", "results", model_keys});
    compare({"projection: energies and cosines by layer", "layers", "layers", layer_keys});
    compare({"projection: energies and cosines by tensor",
             "tensors",
             "tensors",
             {"tensor", "model", "basis", "mode", "fraction"},
             1e-6});
  }
}

TEST_F(StudyOracle, ProjectionAsPublished) {
  run_yaml(projection, "align_cosine");
  compare({"deviation align_cosine", "projection-align_cosine", "results", model_keys});
  run_yaml(projection, "layer_names");
  compare({"deviation layer_names", "layers-layer_names", "layers", layer_keys});
  run_yaml(projection, "tied_twice");
  compare({"deviation tied_twice", "projection-tied_twice", "results", model_keys});
  EXPECT_THAT(read("run/tensors.csv"), HasSubstr("\nlm_head.weight,useful,top_k,same,0.5,"));
}

constexpr const char* overlap = R"(kind: overlap
reference: aligned
models: {useful: useful, harmful: harmful, base: base}
granularity: [tensor, layer]
sides: [left, right]
)";

TEST_F(StudyOracle, OverlapOfTensorsAndLayers) {
  for (const char* method : {"gram", "exact"}) {
    run_yaml(std::string(overlap) + "method: " + method + "\n");
    compare({"overlap: MSO and its random baseline",
             "overlap",
             "results",
             {"pair", "group", "granularity", "side", "energy"},
             1e-5});
  }
}

TEST_F(StudyOracle, OverlapAsPublished) {
  run_yaml(overlap, "layer_pattern");
  const std::string results = read("run/results.csv");
  EXPECT_THAT(results, HasSubstr(",tensor,"));
  EXPECT_THAT(results, Not(HasSubstr(",layer,")));
}

constexpr const char* activations = R"(kind: activations
models: {aligned: aligned, harmful: harmful}
prompts:
  useful: {path: useful.jsonl, field: text, count: 22}
  harmful: {path: harmful.jsonl, field: text, count: 22}
layers: all
energies: [0.1, 0.3, 0.5, 0.6, 0.9]
)";

TEST_F(StudyOracle, OverlapOfActivations) {
  const std::vector<std::string> keys = {"model", "layer", "energy"};
  run_yaml(activations);
  compare({"activations: MSO", "activations", "results", keys, 1e-5});
  run_yaml(std::string(activations) + "center: true\n");
  compare({"activations: MSO of centred states", "activations-center", "results", keys, 1e-5});
}

TEST_F(StudyOracle, OverlapOfActivationsAsPublished) {
  const std::vector<std::string> keys = {"model", "layer", "energy"};
  run_yaml(activations, "masked_eos");
  compare({"deviation masked_eos", "activations-masked_eos", "results", keys, 1e-5});
  const std::string in_one_batch = std::string(activations) + "padded_batch: 22\n";
  run_yaml(in_one_batch, "padded_last");
  compare({"deviation padded_last", "activations-padded_last", "results", keys, 1e-5});
  run_yaml(in_one_batch, "padded_last, masked_eos");
  compare({"deviations padded_last and masked_eos", "activations-padded_last-masked_eos", "results", keys, 1e-5});
}

}  // namespace
}  // namespace subspect::tests
