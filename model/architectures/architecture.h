// Architecture: what one model family's file declares, and the registry of all of them.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "model/config.h"
#include "model/config_reader.h"

namespace subspect::model {

/// Names of the modules in the checkpoint, without ".weight" and ".bias"; "{}" stands for the layer's number. The
/// defaults are Llama's, which most families kept.
struct TensorNames {
  std::string embedding = "model.embed_tokens";
  std::string attention_norm = "model.layers.{}.input_layernorm";
  std::string q = "model.layers.{}.self_attn.q_proj";
  std::string k = "model.layers.{}.self_attn.k_proj";
  std::string v = "model.layers.{}.self_attn.v_proj";
  std::string q_norm = "model.layers.{}.self_attn.q_norm";
  std::string k_norm = "model.layers.{}.self_attn.k_norm";
  std::string o = "model.layers.{}.self_attn.o_proj";
  std::string mlp_norm = "model.layers.{}.post_attention_layernorm";
  std::string gate = "model.layers.{}.mlp.gate_proj";
  std::string up = "model.layers.{}.mlp.up_proj";
  std::string down = "model.layers.{}.mlp.down_proj";
  std::string final_norm = "model.norm";
  std::string lm_head = "lm_head";
};

struct Architecture {
  std::string_view model_type;  ///< of config.json
  std::string_view class_name;  ///< in Transformers, the `architectures` of config.json
  std::string_view summary;     ///< one line for `subspect list architectures`
  /// Maps config.json to what the decoder needs. `model_type`, `dtype` and `json` are filled in by the caller, which
  /// also checks the sizes.
  DecoderConfig (*configure)(const ConfigReader& json);
  TensorNames names = {};
};

/// All that are registered, in the order of the registry.
std::span<const Architecture* const> architectures();

/// The one that `model_type` names; nullptr for none.
const Architecture* find_architecture(std::string_view model_type);

/// What a family takes for keys that its config.json leaves out: the defaults of its class in Transformers.
struct ConfigDefaults {
  double rms_norm_eps = 1e-6;
  double rope_theta = 1e4;
  int64_t max_positions = 2048;
  std::optional<int64_t> head_dim = {};  ///< none: hidden_size / heads
  std::optional<int64_t> kv_heads = {};  ///< none: heads
  std::optional<int64_t> bos_id = {};
  std::vector<int64_t> eos_ids = {};
};

/// Reads the keys that all families share: sizes, rope, norms, activation, special ids. Full attention in every layer.
DecoderConfig read_common(const ConfigReader& json, const ConfigDefaults& defaults);

/// Windows of a family whose layers alternate by `layer_types`, or else by `use_sliding_window`, `sliding_window` and
/// `max_window_layers` (Qwen2, Qwen3: the layers from max_window_layers on).
std::vector<int64_t> read_layer_windows(const ConfigReader& json, int64_t layers);

}  // namespace subspect::model
