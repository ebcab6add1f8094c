// What the tests of the emulated product share: the program over the emulated device, and how its results are compared
// with the CPU's.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "runtime/io/safetensors.h"
#include "tests/tools/program.h"

namespace subspect::tests {

class EmulatedProgram : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    ::setenv("XDG_CACHE_HOME", (folder_ / "cache").c_str(), 1);
    ::unsetenv("SUBSPECT_EMULATED");
  }

  /// What the emulated device is like: see tests/simt/cuda/state.cpp.
  static void emulate(const char* text) { ::setenv("SUBSPECT_EMULATED", text, 1); }

  static std::string fixture(const std::string& name) {
    return (std::filesystem::path(SUBSPECT_SOURCE_DIR) / "tests/fixtures/models" / name).string();
  }

  std::vector<nlohmann::json> lines(const std::string& file) const {
    std::vector<nlohmann::json> result;
    std::istringstream stream(read(file));
    for (std::string line; std::getline(stream, line);) result.push_back(nlohmann::json::parse(line));
    return result;
  }

  /// A decoder of two layers, for a configuration's `model: {config: tiny.json}`.
  void write_tiny_model() const {
    write("tiny.json", R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 32,
      "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
      "intermediate_size": 64, "vocab_size": 320, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
      "tie_word_embeddings": true})");
  }
};

/// The largest |a - b| of all tensors, over the largest |b|.
inline double distance(const std::filesystem::path& a, const std::filesystem::path& b) {
  const auto first = runtime::io::SafetensorsFile::open(a);
  const auto second = runtime::io::SafetensorsFile::open(b);
  EXPECT_EQ(first.names(), second.names());
  double difference = 0;
  double largest = 0;
  for (const std::string& name : second.names()) {
    const runtime::Tensor x = first.tensor(name);
    const runtime::Tensor y = second.tensor(name);
    for (int64_t i = 0; i < y.numel(); ++i) {
      difference = std::max(difference, static_cast<double>(std::abs(x.data<float>()[i] - y.data<float>()[i])));
      largest = std::max(largest, static_cast<double>(std::abs(y.data<float>()[i])));
    }
  }
  return difference / largest;
}

}  // namespace subspect::tests
