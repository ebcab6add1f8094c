// config.json read into a DecoderConfig and written back; rotary frequencies.
#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "model/architectures/architecture.h"
#include "model/config_reader.h"
#include "runtime/error.h"

namespace subspect::model {

using nlohmann::ordered_json;
using runtime::DType;

namespace {

const Architecture& architecture_of(const ConfigReader& json) {
  const std::string model_type = json.text("model_type");
  const Architecture* found = find_architecture(model_type);
  if (found == nullptr) {
    std::string supported;
    for (const Architecture* entry : architectures()) {
      supported += (supported.empty() ? "" : ", ") + std::string(entry->model_type);
    }
    json.fail("model_type", fmt::format("unsupported architecture \"{}\"", model_type),
              fmt::format("supported are {}", supported));
  }
  return *found;
}

DType read_dtype(const ConfigReader& json) {
  const std::string key = json.has("dtype") ? "dtype" : "torch_dtype";
  const std::string name = json.text_or(key, "float32");
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16}) {
    if (name == runtime::name(dtype) || name == fmt::format("torch.{}", runtime::name(dtype))) return dtype;
  }
  json.fail(key, fmt::format("unsupported dtype \"{}\"", name), "supported are float32, bfloat16, float16");
}

void check_windows(const ConfigReader& json, const DecoderConfig& config) {
  for (const int64_t window : config.windows) {
    if (window < 0) json.fail("sliding_window", fmt::format("{} is negative", window), "correct the file");
  }
}

DecoderConfig configure(const ConfigReader& json, std::string text) {
  const Architecture& architecture = architecture_of(json);
  DecoderConfig config = architecture.configure(json);
  config.model_type = architecture.model_type;
  config.dtype = read_dtype(json);
  config.json = std::move(text);
  check_windows(json, config);
  return config;
}

/// Dimension (as a real number) whose wave turns `rotations` times in `positions`.
double yarn_dimension(const RopeConfig& rope, double rotations, int64_t head_dim) {
  const double positions = static_cast<double>(rope.original_max_positions);
  return static_cast<double>(head_dim) * std::log(positions / (rotations * 2 * std::numbers::pi)) /
         (2 * std::log(rope.theta));
}

/// YaRN (Peng et al., 2023), section 3.2: low dimensions keep their frequency, high ones are interpolated.
void scale_yarn(const RopeConfig& rope, int64_t head_dim, std::vector<float>& frequencies) {
  double low = yarn_dimension(rope, rope.beta_fast, head_dim);
  double high = yarn_dimension(rope, rope.beta_slow, head_dim);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(head_dim - 1));
  if (low == high) high += 0.001;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const auto ramp = static_cast<float>(std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0));
    const float interpolated = frequencies[i] / static_cast<float>(rope.factor);
    frequencies[i] = interpolated * ramp + frequencies[i] * (1 - ramp);
  }
}

/// Llama 3.1: long waves are stretched by `factor`, short ones kept, those between interpolated smoothly.
void scale_llama3(const RopeConfig& rope, std::vector<float>& frequencies) {
  const auto length = static_cast<float>(rope.original_max_positions);
  const auto low = static_cast<float>(rope.low_freq_factor);
  const auto high = static_cast<float>(rope.high_freq_factor);
  const auto factor = static_cast<float>(rope.factor);
  for (float& frequency : frequencies) {
    const float wavelength = 2 * std::numbers::pi_v<float> / frequency;
    if (wavelength < length / high) continue;
    if (wavelength > length / low) {
      frequency /= factor;
      continue;
    }
    const float smooth = (length / wavelength - low) / (high - low);
    frequency = (1 - smooth) * frequency / factor + smooth * frequency;
  }
}

/// New Transformers reads rope_parameters, versions before 5 (and what builds on them) rope_theta and rope_scaling.
void spell_rope_both_ways(ordered_json& json) {
  const auto parameters = json.find("rope_parameters");
  if (parameters == json.end() || !parameters->is_object()) return;
  ordered_json scaling = *parameters;
  if (scaling.contains("rope_theta")) {
    json["rope_theta"] = scaling["rope_theta"];
    scaling.erase("rope_theta");
  }
  const bool scaled = scaling.value("rope_type", scaling.value("type", std::string("default"))) != "default";
  if (scaled && !json.contains("rope_scaling")) json["rope_scaling"] = scaling;
}

}  // namespace

std::vector<float> rope_inverse_frequencies(const RopeConfig& rope, int64_t head_dim) {
  std::vector<float> frequencies(static_cast<size_t>(head_dim / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    frequencies[i] = 1.0F / std::pow(static_cast<float>(rope.theta), exponent);
  }
  switch (rope.scaling) {
    case RopeScaling::none:
      break;
    case RopeScaling::linear:
      for (float& frequency : frequencies) frequency /= static_cast<float>(rope.factor);
      break;
    case RopeScaling::llama3:
      scale_llama3(rope, frequencies);
      break;
    case RopeScaling::yarn:
      scale_yarn(rope, head_dim, frequencies);
      break;
  }
  return frequencies;
}

float rope_attention_factor(const RopeConfig& rope) {
  if (rope.scaling != RopeScaling::yarn) return 1.0F;
  if (rope.attention_factor) return static_cast<float>(*rope.attention_factor);
  return rope.factor <= 1 ? 1.0F : static_cast<float>(0.1 * std::log(rope.factor) + 1.0);
}

DecoderConfig read_decoder_config(const std::filesystem::path& config_json) {
  const ConfigReader json = ConfigReader::read(config_json);
  return configure(json, json.source());
}

DecoderConfig parse_decoder_config(const std::string& json_text, const std::string& where) {
  return configure(ConfigReader::parse(json_text, where), json_text);
}

std::string config_json_text(const DecoderConfig& config, DType dtype) {
  ordered_json json = ordered_json::parse(config.json);
  const Architecture* architecture = find_architecture(config.model_type);
  if (!json.contains("architectures") && architecture != nullptr) {
    json["architectures"] = ordered_json::array({std::string(architecture->class_name)});
  }
  json["dtype"] = runtime::name(dtype);
  json["torch_dtype"] = runtime::name(dtype);
  spell_rope_both_ways(json);
  return json.dump(2) + "\n";
}

}  // namespace subspect::model
