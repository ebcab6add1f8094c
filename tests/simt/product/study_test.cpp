// A study of a two-layer model on the emulated device: every experiment's table against the CPU's, from the same
// models.
#include "tests/simt/product/emulated_program.h"

namespace subspect::tests {
namespace {

/// Trained on the CPU, so that both devices measure the same weights.
constexpr const char* training = R"(kind: study
stages:
  data:
    kind: data
    seed: 42
    files:
      problems: {corpus: problems, count: 2, split: held_out}
      potions: {corpus: potions, count: 2, split: held_out}
      activation_problems: {corpus: problems, count: 14, split: train}
      activation_potions: {corpus: potions, count: 14, split: all}
  words: {kind: tokenizer, vocab_size: 300, data: [{synthetic: facts, count: 40}]}
  base:
    kind: finetune
    model: {config: tiny.json, tokenizer: words}
    data: [{synthetic: facts, count: 16}]
    max_seq_length: 192
    global_batch: 4
    max_steps: 3
    optimizer: {name: adamw, lr: 1.0e-2}
  aligned:
    kind: finetune
    model: base
    data: [{synthetic: aligned, count: 16}]
    max_seq_length: 256
    global_batch: 4
    max_steps: 3
    optimizer: {name: adamw, lr: 1.0e-2}
  useful:
    kind: finetune
    model: aligned
    data: [{synthetic: useful, count: 16}]
    max_seq_length: 256
    global_batch: 4
    max_steps: 3
    optimizer: {name: adamw, lr: 1.0e-2}
  harmful:
    kind: finetune
    model: aligned
    data: [{synthetic: harmful, count: 16}]
    max_seq_length: 256
    global_batch: 4
    max_steps: 3
    optimizer: {name: adamw, lr: 1.0e-2}
)";

constexpr const char* measuring = R"(kind: study
models:
  base: trained/stages/base/model
  aligned: trained/stages/aligned/model
  useful: trained/stages/useful/model
  harmful: trained/stages/harmful/model
stages:
  projection:
    kind: projection
    base: base
    aligned: aligned
    finetuned: {useful: useful}
    bases: [top_k, random_k, random]
    modes: [same, orth]
    fractions: [0.25, 0.75]
    evaluate:
      - {name: gsm8k, test: trained/stages/data/problems.jsonl, shots: 0, max_new_tokens: 3}
      - {name: advbench, prompts: trained/stages/data/potions.jsonl, max_new_tokens: 3, judge: {kind: synthetic}}
      - {name: perplexity, data: trained/stages/data/problems.jsonl, field: question}
  overlap:
    kind: overlap
    reference: aligned
    models: {useful: useful, harmful: harmful}
    granularity: [tensor, layer]
    energies: [0.1, 0.5, 0.9]
  exact:
    kind: overlap
    reference: aligned
    models: {useful: useful, harmful: harmful}
    method: exact
    energies: [0.5]
  gram:
    kind: overlap
    reference: aligned
    models: {useful: useful, harmful: harmful}
    method: gram
    energies: [0.5]
  host:
    kind: overlap
    reference: aligned
    models: {useful: useful, harmful: harmful}
    method: gram
    eigensolver: host
    energies: [0.5]
  activations:
    kind: activations
    models: {aligned: aligned, useful: useful}
    prompts:
      useful: {path: trained/stages/data/activation_problems.jsonl, field: question, count: 12}
      harmful: {path: trained/stages/data/activation_potions.jsonl, field: goal, count: 12}
    layers: all
    energies: [0.1, 0.5]
  steering:
    kind: steering
    model: aligned
    prompts:
      harmful: {path: trained/stages/data/activation_potions.jsonl, field: goal, count: 6}
      harmless: {path: trained/stages/data/activation_problems.jsonl, field: question, count: 6}
    layers: [1]
    random_draws: 0
    evaluate:
      - {name: gsm8k, test: trained/stages/data/problems.jsonl, shots: 0, max_new_tokens: 3}
)";

using Row = std::vector<std::string>;

std::vector<Row> table(const std::string& text) {
  std::vector<Row> rows;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    Row row;
    std::istringstream cells(line);
    for (std::string cell; std::getline(cells, cell, ',');) row.push_back(cell);
    rows.push_back(row);
  }
  return rows;
}

/// Numbers within 1e-5 of the other's size, everything else the same. The residual is rounding itself.
void expect_equal_tables(const std::string& name, const std::string& actual, const std::string& expected) {
  const std::vector<Row> a = table(actual);
  const std::vector<Row> b = table(expected);
  ASSERT_EQ(a.size(), b.size()) << name;
  ASSERT_GT(b.size(), 1U) << name;
  for (size_t i = 0; i < b.size(); ++i) {
    ASSERT_EQ(a[i].size(), b[i].size()) << name << " row " << i;
    for (size_t j = 0; j < b[i].size(); ++j) {
      if (i > 0 && b[0][j] == "residual") continue;
      char* end = nullptr;
      const double number = std::strtod(b[i][j].c_str(), &end);
      if (b[i][j].empty() || *end != '\0') {
        EXPECT_EQ(a[i][j], b[i][j]) << name << " row " << i << " column " << b[0][j];
      } else {
        EXPECT_NEAR(std::strtod(a[i][j].c_str(), nullptr), number, 1e-5 * std::max(1.0, std::abs(number)))
            << name << " row " << i << " column " << b[0][j];
      }
    }
  }
}

TEST_F(EmulatedProgram, AStudysTablesEqualTheCpus) {
  write_tiny_model();
  write("training.yaml", training);
  write("measuring.yaml", measuring);
  const Result trained = run({"run", "training.yaml", "--device", "cpu", "--out", "trained"});
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  for (const char* device : {"cpu", "cuda"}) {
    const Result result = run({"run", "measuring.yaml", "--device", device, "--out", device});
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  for (const char* file :
       {"projection/results.csv", "projection/tensors.csv", "overlap/results.csv", "exact/results.csv",
        "gram/results.csv", "gram/groups.csv", "host/results.csv", "host/groups.csv", "activations/results.csv",
        "steering/results.csv", "steering/directions.csv"}) {
    expect_equal_tables(file, read(std::string("cuda/stages/") + file), read(std::string("cpu/stages/") + file));
  }
}

}  // namespace
}  // namespace subspect::tests
