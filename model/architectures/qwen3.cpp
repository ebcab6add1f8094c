// Qwen3, dense (Yang et al., 2025): RMSNorm on every query and key head, an explicit head_dim, no q, k, v biases.
#include "model/architectures/architecture.h"

namespace subspect::model {

namespace {

DecoderConfig configure(const ConfigReader& json) {
  DecoderConfig config =
      read_common(json, {.rms_norm_eps = 1e-6, .max_positions = 32768, .head_dim = 128, .kv_heads = 32});
  config.qk_norm = true;
  config.qkv_bias = json.boolean_or("attention_bias", false);
  config.o_bias = config.qkv_bias;
  config.windows = read_layer_windows(json, config.layers);
  return config;
}

}  // namespace

extern const Architecture qwen3_architecture;
const Architecture qwen3_architecture = {
    .model_type = "qwen3",
    .class_name = "Qwen3ForCausalLM",
    .summary = "Qwen3 (dense): normalised query and key heads, explicit head_dim",
    .configure = configure,
};

}  // namespace subspect::model
