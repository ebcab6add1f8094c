// The keys of config.json that all families share.
#include <array>
#include <cmath>

#include "model/architectures/architecture.h"
#include "runtime/error.h"

namespace subspect::model {

using runtime::ops::Activation;

namespace {

struct Limit {
  const char* key;
  int64_t DecoderConfig::*size;
  int64_t largest;  // far beyond any model: a larger number is a damaged file
};

constexpr std::array limits = {
    Limit{"hidden_size", &DecoderConfig::hidden_size, int64_t{1} << 20},
    Limit{"num_hidden_layers", &DecoderConfig::layers, 10'000},
    Limit{"num_attention_heads", &DecoderConfig::heads, 1 << 16},
    Limit{"num_key_value_heads", &DecoderConfig::kv_heads, 1 << 16},
    Limit{"head_dim", &DecoderConfig::head_dim, 1 << 14},
    Limit{"intermediate_size", &DecoderConfig::intermediate_size, int64_t{1} << 24},
    Limit{"vocab_size", &DecoderConfig::vocab_size, int64_t{1} << 26},
    Limit{"max_position_embeddings", &DecoderConfig::max_positions, int64_t{1} << 40},
};

void check_sizes(const ConfigReader& json, const DecoderConfig& config) {
  for (const Limit& limit : limits) {
    const int64_t size = config.*limit.size;
    if (size < 1 || size > limit.largest) {
      json.fail(limit.key, fmt::format("{} is not between 1 and {}", size, limit.largest), "correct the file");
    }
  }
  if (config.heads % config.kv_heads != 0) {
    json.fail("num_key_value_heads",
              fmt::format("{} heads cannot share {} key/value heads evenly", config.heads, config.kv_heads),
              "correct the file");
  }
  if (config.head_dim % 2 != 0) {
    json.fail("head_dim", fmt::format("{} is odd: rotary embedding needs pairs", config.head_dim), "correct the file");
  }
  // not (x > 0) also catches NaN
  if (!(config.rms_norm_eps > 0) || config.rms_norm_eps > 1) {
    json.fail("rms_norm_eps", fmt::format("{} is not between 0 and 1", config.rms_norm_eps), "correct the file");
  }
}

int64_t read_head_dim(const ConfigReader& json, const DecoderConfig& config, const ConfigDefaults& defaults) {
  if (json.has("head_dim")) return json.integer("head_dim");
  if (!json.contains("head_dim") && defaults.head_dim) return *defaults.head_dim;
  if (config.heads > 0 && config.hidden_size % config.heads != 0) {
    json.fail("hidden_size",
              fmt::format("{} is no multiple of num_attention_heads, {}", config.hidden_size, config.heads),
              "correct the file, or give head_dim");
  }
  return config.heads > 0 ? config.hidden_size / config.heads : 0;
}

Activation read_activation(const ConfigReader& json) {
  const std::string name = json.text_or("hidden_act", "silu");
  if (name == "silu" || name == "swish") return Activation::silu;
  if (name == "gelu_pytorch_tanh") return Activation::gelu_tanh;
  json.fail("hidden_act", fmt::format("unsupported activation \"{}\"", name), "supported are silu, gelu_pytorch_tanh");
}

RopeScaling read_scaling(const ConfigReader& json, const ConfigReader& rope) {
  const std::string type = rope.text_or("rope_type", rope.text_or("type", "default"));
  if (type == "default") return RopeScaling::none;
  if (type == "linear") return RopeScaling::linear;
  if (type == "llama3") return RopeScaling::llama3;
  if (type == "yarn") return RopeScaling::yarn;
  rope.fail("rope_type", fmt::format("unsupported rope type \"{}\" of {}", type, json.text("model_type")),
            "supported are default, linear, llama3, yarn");
}

void read_scaling_parameters(const ConfigReader& rope, RopeConfig& result) {
  if (result.scaling == RopeScaling::none) return;
  result.factor = rope.number("factor");
  if (!(result.factor >= 1)) rope.fail("factor", fmt::format("{} is less than 1", result.factor), "correct the file");
  result.original_max_positions = rope.integer_or("original_max_position_embeddings", result.original_max_positions);
  if (result.scaling == RopeScaling::llama3) {
    result.low_freq_factor = rope.number("low_freq_factor");
    result.high_freq_factor = rope.number("high_freq_factor");
    if (!(result.low_freq_factor > 0) || !(result.high_freq_factor > result.low_freq_factor)) {
      rope.fail("high_freq_factor", "must be greater than low_freq_factor, and both positive", "correct the file");
    }
  }
  if (result.scaling == RopeScaling::yarn) {
    if (rope.has("mscale") || rope.has("mscale_all_dim")) {
      rope.fail("mscale", "yarn with mscale is unsupported", "use a model without it");
    }
    result.beta_fast = rope.number_or("beta_fast", 32);
    result.beta_slow = rope.number_or("beta_slow", 1);
    result.truncate = rope.boolean_or("truncate", true);
    result.attention_factor = rope.maybe_number("attention_factor");
  }
}

/// `rope_theta` and `rope_scaling` (Transformers 4, "type" or "rope_type"), or `rope_parameters` (5). As Transformers 5
/// does, rope_scaling wins where both are there, and theta is first looked for inside.
RopeConfig read_rope(const ConfigReader& json, const DecoderConfig& config, double default_theta) {
  RopeConfig result;
  result.theta = json.number_or("rope_theta", default_theta);
  result.original_max_positions = json.integer_or("original_max_position_embeddings", config.max_positions);
  std::optional<ConfigReader> rope = json.maybe_object("rope_scaling");
  if (!rope) rope = json.maybe_object("rope_parameters");
  if (rope) {
    if (rope->has("full_attention") || rope->has("sliding_attention")) {
      json.fail("rope_parameters", "rope parameters per layer type are unsupported", "use a model without them");
    }
    result.theta = rope->number_or("rope_theta", result.theta);
    result.scaling = read_scaling(json, *rope);
    read_scaling_parameters(*rope, result);
  }
  const double partial = rope ? rope->number_or("partial_rotary_factor", 1.0) : 1.0;
  if (partial != 1.0 || json.number_or("partial_rotary_factor", 1.0) != 1.0) {
    json.fail("partial_rotary_factor", "partial rotary embedding is unsupported", "use a model without it");
  }
  if (!(result.theta > 0) || !std::isfinite(result.theta)) {
    json.fail("rope_theta", fmt::format("{} is not positive", result.theta), "correct the file");
  }
  return result;
}

}  // namespace

DecoderConfig read_common(const ConfigReader& json, const ConfigDefaults& defaults) {
  DecoderConfig config;
  config.hidden_size = json.integer("hidden_size");
  config.layers = json.integer("num_hidden_layers");
  config.heads = json.integer("num_attention_heads");
  const bool kv_absent = !json.contains("num_key_value_heads");
  config.kv_heads =
      json.integer_or("num_key_value_heads", kv_absent ? defaults.kv_heads.value_or(config.heads) : config.heads);
  config.head_dim = read_head_dim(json, config, defaults);
  config.intermediate_size = json.integer("intermediate_size");
  config.vocab_size = json.integer("vocab_size");
  config.max_positions = json.integer_or("max_position_embeddings", defaults.max_positions);
  config.rms_norm_eps = static_cast<float>(json.number_or("rms_norm_eps", defaults.rms_norm_eps));
  config.activation = read_activation(json);
  check_sizes(json, config);
  config.rope = read_rope(json, config, defaults.rope_theta);
  config.tied_embeddings = json.boolean_or("tie_word_embeddings", false);
  config.windows.assign(static_cast<size_t>(config.layers), 0);
  config.initializer_range = static_cast<float>(json.number_or("initializer_range", 0.02));
  config.bos_id = json.contains("bos_token_id") ? json.maybe_integer("bos_token_id") : defaults.bos_id;
  config.eos_ids = json.contains("eos_token_id") ? json.ids("eos_token_id") : defaults.eos_ids;
  return config;
}

std::vector<int64_t> read_layer_windows(const ConfigReader& json, int64_t layers) {
  std::vector<int64_t> windows(static_cast<size_t>(layers), 0);
  if (!json.boolean_or("use_sliding_window", false)) return windows;
  const int64_t window = json.contains("sliding_window") ? json.integer_or("sliding_window", 0) : 4096;
  const std::vector<std::string> types = json.texts("layer_types");
  if (!types.empty() && types.size() != windows.size()) {
    json.fail("layer_types", fmt::format("{} entries for {} layers", types.size(), layers), "correct the file");
  }
  const int64_t first = json.integer_or("max_window_layers", 28);
  for (int64_t layer = 0; layer < layers; ++layer) {
    const auto i = static_cast<size_t>(layer);
    const bool slides = types.empty() ? layer >= first : types[i] == "sliding_attention";
    if (!types.empty() && !slides && types[i] != "full_attention") {
      json.fail("layer_types", fmt::format("unsupported layer type \"{}\"", types[i]),
                "supported are full_attention, sliding_attention");
    }
    windows[i] = slides ? window : 0;
  }
  return windows;
}

}  // namespace subspect::model
