// Mistral 7B (Jiang et al., 2023): Llama with a sliding attention window in every layer (dropped in later versions).
#include "model/architectures/architecture.h"

namespace subspect::model {

namespace {

DecoderConfig configure(const ConfigReader& json) {
  DecoderConfig config =
      read_common(json, {.rms_norm_eps = 1e-6, .max_positions = 131072, .kv_heads = 8, .bos_id = 1, .eos_ids = {2}});
  // Transformers takes 4096 for a missing key; null says that there is no window.
  const int64_t window = json.contains("sliding_window") ? json.integer_or("sliding_window", 0) : 4096;
  config.windows.assign(config.windows.size(), window);
  return config;
}

}  // namespace

extern const Architecture mistral_architecture;
const Architecture mistral_architecture = {
    .model_type = "mistral",
    .class_name = "MistralForCausalLM",
    .summary = "Mistral: Llama with sliding-window attention",
    .configure = configure,
};

}  // namespace subspect::model
