// A temporary folder with tiny checkpoints and a run context, for the tests of the subspace experiments.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "experiments/experiment.h"
#include "experiments/subspace/weights.h"
#include "runtime/io/safetensors.h"
#include "tests/runtime/linalg/oracle.h"

namespace subspect::experiments::subspace::testing {

namespace oracle = runtime::linalg::testing;
using oracle::Dense;

/// Tensors of a checkpoint by name: values and shape (one size: a vector).
struct Values {
  runtime::Shape shape;
  Dense dense;  ///< a vector is a column
};
using Checkpoint = std::map<std::string, Values>;

inline Values values_of(const runtime::Shape& shape, uint64_t seed, double scale = 1.0) {
  Values values{shape, oracle::gaussian(shape[0], shape.size() > 1 ? shape[1] : 1, seed)};
  for (double& x : values.dense.values) x = static_cast<double>(static_cast<float>(x * scale));
  return values;
}

/// Two layers, an embedding and norms; every tensor has a shape of its own kind (square, wide, tall, vector).
inline Checkpoint random_checkpoint(uint64_t seed, double scale = 1.0) {
  Checkpoint checkpoint;
  const auto add = [&](const std::string& name, const runtime::Shape& shape) {
    checkpoint.emplace(name, values_of(shape, ++seed, scale));
  };
  add("model.embed_tokens.weight", {40, 12});
  for (const char* layer : {"model.layers.0.", "model.layers.1."}) {
    add(std::string(layer) + "input_layernorm.weight", {12});
    add(std::string(layer) + "mlp.down_proj.weight", {12, 20});
    add(std::string(layer) + "mlp.up_proj.weight", {20, 12});
    add(std::string(layer) + "self_attn.q_proj.weight", {12, 12});
  }
  add("model.norm.weight", {12});
  return checkpoint;
}

/// a + b per tensor, rounded to float32.
inline Checkpoint plus(const Checkpoint& a, const Checkpoint& b) {
  Checkpoint sum = a;
  for (auto& item : sum) {
    const std::vector<double>& other = b.at(item.first).dense.values;
    for (size_t i = 0; i < other.size(); ++i) {
      item.second.dense.values[i] = static_cast<double>(static_cast<float>(item.second.dense.values[i] + other[i]));
    }
  }
  return sum;
}

class SubspaceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              fmt::format("subspect-{}-{}-{}", info->test_suite_name(), info->name(), ::getpid());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  /// Writes a checkpoint into folder/name.
  std::filesystem::path save(const std::string& name, const Checkpoint& checkpoint,
                             runtime::DType dtype = runtime::DType::float32) {
    std::vector<runtime::io::TensorSpec> specs;
    for (const auto& item : checkpoint) specs.push_back({item.first, dtype, item.second.shape});
    runtime::io::write_safetensors_set(folder_ / name, specs, [&](size_t i) {
      return oracle::to_tensor(*stream_, checkpoint.at(specs[i].name).dense).view(specs[i].shape).to(*stream_, dtype);
    });
    return folder_ / name;
  }

  /// Opens (or resumes) a run directory and calls `body(context)`.
  template <class Body>
  void in_run(const std::string& name, Body&& body, std::shared_ptr<runtime::Stream> stream = nullptr) {
    RunDir dir = RunDir::open({.path = folder_ / name, .kind = "test", .config_yaml = "kind: test\n", .identity = {}});
    runtime::Log log({.console = false});
    runtime::Progress progress(log);
    runtime::io::MetricsWriter metrics(dir.file("metrics.jsonl"));
    RunContext context{dir, stream ? *stream : *stream_, log, progress, metrics};
    body(context);
  }

  Table read(const std::string& run, const std::string& table = "results") const {
    return Table::read_csv(folder_ / run / (table + ".csv"));
  }

  std::filesystem::path folder_;
  std::shared_ptr<runtime::Stream> stream_ = runtime::Stream::open({}, 2);
};

/// The number in a column of the only row with these keys; fails the test when there is none.
inline double number(const Table& table, const NamedCells& keys, const std::string& column) {
  const Row* row = table.find(keys);
  if (row == nullptr) {
    std::string text;
    for (const auto& key : keys) text += key.first + "=" + key.second.text() + " ";
    ADD_FAILURE() << "no row " << text;
    return 0.0;
  }
  return table.cell(*row, column).number();
}

}  // namespace subspect::experiments::subspace::testing
