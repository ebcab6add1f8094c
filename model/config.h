// DecoderConfig: everything that distinguishes one decoder-only transformer from another, read from a config.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "runtime/dtype.h"
#include "runtime/ops/gated_activation.h"

namespace subspect::model {

/// How rotary frequencies are stretched beyond the lengths that a model was first trained on.
enum class RopeScaling : uint8_t { none, linear, llama3, yarn };

/// Rotary position embedding, in the half-split layout of Transformers.
struct RopeConfig {
  double theta = 1e4;
  RopeScaling scaling = RopeScaling::none;
  double factor = 1.0;                          ///< linear, llama3, yarn
  double low_freq_factor = 1.0;                 ///< llama3
  double high_freq_factor = 4.0;                ///< llama3
  int64_t original_max_positions = 8192;        ///< llama3, yarn
  double beta_fast = 32.0;                      ///< yarn
  double beta_slow = 1.0;                       ///< yarn
  bool truncate = true;                         ///< yarn: round the correction range to whole dimensions
  std::optional<double> attention_factor = {};  ///< yarn: multiplies cos and sin; default 0.1 ln(factor) + 1

  bool operator==(const RopeConfig&) const = default;
};

/// The angle per position of each pair of dimensions: head_dim / 2 values, scaling applied, computed in float32 as
/// Transformers does (`modeling_rope_utils`).
std::vector<float> rope_inverse_frequencies(const RopeConfig& rope, int64_t head_dim);

/// What cos and sin are multiplied by: 1 except for yarn.
float rope_attention_factor(const RopeConfig& rope);

/// A decoder-only transformer: RMSNorm before attention and before a gated MLP, rotary embedding, grouped-query heads.
struct DecoderConfig {
  std::string model_type;  ///< "llama", "qwen2", ...: a name in the registry of architectures

  int64_t hidden_size = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t intermediate_size = 0;
  int64_t vocab_size = 0;
  int64_t max_positions = 0;

  RopeConfig rope;
  float rms_norm_eps = 1e-6F;
  runtime::ops::Activation activation = runtime::ops::Activation::silu;
  bool qkv_bias = false;
  bool o_bias = false;
  bool mlp_bias = false;
  bool qk_norm = false;          ///< RMSNorm over head_dim of every query and key head, before the rotary embedding
  bool tied_embeddings = false;  ///< the output projection is the embedding table
  std::vector<int64_t> windows;  ///< per layer: a token sees itself and the window - 1 tokens before it; 0 = all

  float initializer_range = 0.02F;
  std::optional<int64_t> bos_id;
  std::vector<int64_t> eos_ids;
  runtime::DType dtype = runtime::DType::float32;  ///< the dtype of the checkpoint's weights

  std::string json;  ///< the whole config.json as read: keys that mean nothing here are written back unchanged

  int64_t q_size() const { return heads * head_dim; }
  int64_t kv_size() const { return kv_heads * head_dim; }
  int64_t qkv_size() const { return q_size() + 2 * kv_size(); }
  int64_t window(int64_t layer) const { return windows[static_cast<size_t>(layer)]; }
};

/// Reads a config.json. Throws Error naming the file and the key for: no or invalid JSON, an unsupported model_type,
/// rope type or activation (the supported ones are listed), sizes that are absurd or do not fit each other.
DecoderConfig read_decoder_config(const std::filesystem::path& config_json);

/// The same from text; `where` names its origin in errors.
DecoderConfig parse_decoder_config(const std::string& json_text, const std::string& where);

/// `config.json` with its dtype key spelled for old (`torch_dtype`) and new (`dtype`) Transformers.
std::string config_json_text(const DecoderConfig& config, runtime::DType dtype);

}  // namespace subspect::model
