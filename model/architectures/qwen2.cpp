// Qwen2 and Qwen2.5 (Yang et al., 2024): Llama with biases on q, k and v, and optionally a window in the upper layers.
#include "model/architectures/architecture.h"

namespace subspect::model {

namespace {

DecoderConfig configure(const ConfigReader& json) {
  DecoderConfig config = read_common(json, {.rms_norm_eps = 1e-6, .max_positions = 32768, .kv_heads = 32});
  config.qkv_bias = true;
  config.windows = read_layer_windows(json, config.layers);
  return config;
}

}  // namespace

extern const Architecture qwen2_architecture;
const Architecture qwen2_architecture = {
    .model_type = "qwen2",
    .class_name = "Qwen2ForCausalLM",
    .summary = "Qwen2, Qwen2.5: Llama with q, k, v biases",
    .configure = configure,
};

}  // namespace subspect::model
