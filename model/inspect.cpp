// Counts from the configuration alone: nothing is loaded.
#include "model/inspect.h"

#include <algorithm>

#include "model/generation/generate.h"
#include "model/generation/kv_cache.h"

namespace subspect::model {

using runtime::DType;

namespace {

constexpr int64_t float32_bytes = 4;

/// Keys that a token sees on average, in a document of `length` tokens and a window (0: none).
double mean_visible_keys(int64_t length, int64_t window) {
  const auto n = static_cast<double>(length);
  if (window <= 0 || window >= length) return (n + 1) / 2;
  const auto w = static_cast<double>(window);
  return (w * (w + 1) / 2 + (n - w) * w) / n;
}

}  // namespace

ParameterCounts count_parameters(const DecoderConfig& c) {
  ParameterCounts counts;
  counts.embedding = c.vocab_size * c.hidden_size;
  counts.lm_head = c.tied_embeddings ? 0 : counts.embedding;
  const int64_t biases = (c.qkv_bias ? c.qkv_size() : 0) + (c.o_bias ? c.hidden_size : 0);
  counts.attention = c.layers * (c.hidden_size * (c.qkv_size() + c.q_size()) + biases);
  const int64_t mlp_biases = c.mlp_bias ? 2 * c.intermediate_size + c.hidden_size : 0;
  counts.feed_forward = c.layers * (3 * c.hidden_size * c.intermediate_size + mlp_biases);
  counts.norms = c.layers * (2 * c.hidden_size + (c.qk_norm ? 2 * c.head_dim : 0)) + c.hidden_size;
  return counts;
}

InferenceMemory plan_inference(const DecoderConfig& config, DType dtype, int64_t sequences, int64_t length,
                               int64_t most_cache_bytes) {
  const int64_t width = runtime::element_size(dtype);
  InferenceMemory plan;
  plan.weights = count_parameters(config).total() * width;
  const int64_t one_sequence = KvCache::bytes_per_token(config, dtype) * length;
  plan.kv_cache = std::min(one_sequence * sequences, std::max(one_sequence, most_cache_bytes));
  // While prompts are read: the residual stream, an update, the norm's output, and what is widest in a block.
  const int64_t widest = std::max(3 * config.intermediate_size, config.qkv_size() + config.q_size());
  const int64_t prefilled = std::max(length, std::min(sequences * length, max_prefill_tokens));
  plan.activations =
      prefilled * (4 * config.hidden_size + widest) * width + sequences * config.vocab_size * float32_bytes;
  return plan;
}

double forward_flops_per_token(const DecoderConfig& config, int64_t length) {
  const ParameterCounts counts = count_parameters(config);
  const int64_t head = config.vocab_size * config.hidden_size;
  double flops = 2.0 * static_cast<double>(counts.attention + counts.feed_forward + head);
  for (const int64_t window : config.windows) {
    flops += 4.0 * static_cast<double>(config.q_size()) * mean_visible_keys(std::max<int64_t>(1, length), window);
  }
  return flops;
}

double training_flops_per_token(const DecoderConfig& config, int64_t length) {
  return 3.0 * forward_flops_per_token(config, length);
}

}  // namespace subspect::model
