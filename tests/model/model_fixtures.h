// What the tests of models share: the tiny models of tests/fixtures/models, comparisons, a small configuration.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/decoder.h"
#include "runtime/io/safetensors.h"

namespace subspect::model::testing {

inline std::filesystem::path fixture(const std::string& name) {
  return std::filesystem::path(SUBSPECT_SOURCE_DIR) / "tests" / "fixtures" / "models" / name;
}

/// Every model of tools/fixtures/transformers_models.py.
inline const std::vector<std::string>& fixture_names() {
  static const std::vector<std::string> names = {
      "llama2", "llama2_linear", "llama3", "llama_bias", "qwen2", "qwen2_yarn", "qwen3", "mistral", "seed_oss",
      // Corners of one layer each: sizes of groups, scaling, windows, bfloat16 checkpoints.
      "llama_groups3", "qwen3_groups4", "seed_oss_groups5", "qwen2_groups6", "qwen2_groups7", "mistral_groups8",
      "qwen3_yarn", "llama_bf16", "qwen2_bf16"};
  return names;
}

inline runtime::Stream& cpu() {
  static const auto stream = runtime::Stream::open({}, 2);
  return *stream;
}

/// ||a - b|| / ||b||, or ||a|| where b is zero.
inline double relative_error(std::span<const float> a, std::span<const float> b) {
  double difference = 0;
  double norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    const double delta = static_cast<double>(a[i]) - b[i];
    difference += delta * delta;
    norm += static_cast<double>(b[i]) * b[i];
  }
  return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

/// `a` must have b's number of elements.
inline double relative_error(const runtime::Tensor& a, const runtime::Tensor& b) {
  const std::vector<float> left = a.to_host<float>(cpu());
  const std::vector<float> right = b.to_host<float>(cpu());
  return left.size() == right.size() ? relative_error(left, right) : HUGE_VAL;
}

/// The inputs and results that Transformers left for one model.
class Golden {
 public:
  explicit Golden(const std::string& name)
      : file_(runtime::io::SafetensorsFile::open(fixture(name) / "golden.safetensors")) {}

  runtime::Tensor tensor(const std::string& name) const { return file_.tensor(name); }
  std::vector<int32_t> ids(const std::string& name) const { return tensor(name).to_host<int32_t>(cpu()); }
  /// The lists prefix.0, prefix.1, ...
  std::vector<std::vector<int32_t>> lists(const std::string& prefix) const {
    std::vector<std::vector<int32_t>> result;
    for (int i = 0; file_.contains(prefix + "." + std::to_string(i)); ++i) {
      result.push_back(ids(prefix + "." + std::to_string(i)));
    }
    return result;
  }

 private:
  runtime::io::SafetensorsFile file_;
};

/// A Llama of 2 layers; `extra` are more members of its config.json, each followed by a comma.
inline std::string small_config(const std::string& extra = "") {
  return "{" + extra + R"("model_type": "llama", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
      "num_key_value_heads": 2, "intermediate_size": 48, "vocab_size": 64, "max_position_embeddings": 256})";
}

inline Decoder small_decoder(uint64_t seed, runtime::DType dtype = runtime::DType::float32) {
  Decoder decoder(cpu(), parse_decoder_config(small_config(R"("initializer_range": 0.15,)"), "config.json"), dtype);
  decoder.initialize(cpu(), seed);
  return decoder;
}

/// A directory of this test alone, removed afterwards.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "subspect-model-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace subspect::model::testing
