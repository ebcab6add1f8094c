// Seed-OSS (ByteDance, 2025): Llama with an explicit head_dim and separate switches for the biases of attention.
#include "model/architectures/architecture.h"

namespace subspect::model {

namespace {

/// The dropouts that its config.json names apply to pre-training; they are not used here.
DecoderConfig configure(const ConfigReader& json) {
  DecoderConfig config = read_common(
      json,
      {.rms_norm_eps = 1e-6, .max_positions = 524288, .head_dim = 128, .kv_heads = 8, .bos_id = 0, .eos_ids = {2}});
  config.qkv_bias = json.boolean_or("attention_bias", true);
  config.o_bias = json.boolean_or("attention_out_bias", false);
  config.mlp_bias = json.boolean_or("mlp_bias", false);
  return config;
}

}  // namespace

extern const Architecture seed_oss_architecture;
const Architecture seed_oss_architecture = {
    .model_type = "seed_oss",
    .class_name = "SeedOssForCausalLM",
    .summary = "Seed-OSS: Llama with an explicit head_dim and q, k, v biases",
    .configure = configure,
};

}  // namespace subspect::model
