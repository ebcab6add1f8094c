// What a model is and what it costs: parameters, memory to run, floating-point operations. The memory to train is in
// training_memory.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"
#include "runtime/dtype.h"

namespace subspect::model {

/// Parameters by what they are for; tied weights count once, under embedding.
struct ParameterCounts {
  int64_t embedding = 0;
  int64_t attention = 0;
  int64_t feed_forward = 0;
  int64_t norms = 0;
  int64_t lm_head = 0;

  int64_t total() const { return embedding + attention + feed_forward + norms + lm_head; }
};

ParameterCounts count_parameters(const DecoderConfig& config);

/// Bytes that generation takes, without the buffers of a device's libraries.
struct InferenceMemory {
  int64_t weights = 0;
  int64_t activations = 0;
  int64_t kv_cache = 0;

  int64_t total() const { return weights + activations + kv_cache; }
};

/// Generation. @param sequences that run at once, each of `length` tokens with its completion; the estimate of
/// activations is for prompts that are as long. @param most_cache_bytes of the KV cache (`default_cache_bytes`), unless
/// one sequence needs more
InferenceMemory plan_inference(const DecoderConfig& config, runtime::DType dtype, int64_t sequences, int64_t length,
                               int64_t most_cache_bytes);

/// Floating-point operations per token of the forward pass over documents of `length` tokens: 2 per weight of every
/// product, and 4 * q_size per visible key and layer. The embedding lookup counts nothing.
double forward_flops_per_token(const DecoderConfig& config, int64_t length);

/// Forward and backward: 3 times the forward pass, recomputation not counted (the convention of model flops
/// utilisation; PaLM, appendix B).
double training_flops_per_token(const DecoderConfig& config, int64_t length);

}  // namespace subspect::model
