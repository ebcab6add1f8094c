// Llama 2, 3, 3.1, 3.2 (Touvron et al., 2023; Dubey et al., 2024), and the many models that took over its form.
#include "model/architectures/architecture.h"

namespace subspect::model {

namespace {

DecoderConfig configure(const ConfigReader& json) {
  DecoderConfig config = read_common(json, {.rms_norm_eps = 1e-6, .max_positions = 2048, .bos_id = 1, .eos_ids = {2}});
  config.qkv_bias = json.boolean_or("attention_bias", false);
  config.o_bias = config.qkv_bias;
  config.mlp_bias = json.boolean_or("mlp_bias", false);
  return config;
}

}  // namespace

extern const Architecture llama_architecture;
const Architecture llama_architecture = {
    .model_type = "llama",
    .class_name = "LlamaForCausalLM",
    .summary = "Llama 2, 3.x: RMSNorm, rotary embedding (llama3 scaling), grouped-query attention, SwiGLU",
    .configure = configure,
};

}  // namespace subspect::model
