// What a model is and what it costs: parameters, memory to run and to train, floating-point operations.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"
#include "runtime/device.h"
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

/// How a model is trained, as far as memory goes.
struct TrainingShape {
  runtime::DType compute = runtime::DType::float32;  ///< of weights and activations
  bool master_weights = false;                       ///< a float32 copy beside bfloat16 weights
  int64_t optimizer_moments = 2;                     ///< values per parameter: AdamW 2, momentum 1, SGD 0
  bool int8_moments = false;                         ///< these in 8 bits, with a scale per 256; else float32
  int64_t micro_batch_tokens = 8192;
  bool recompute = false;  ///< keep each block's input only
  runtime::DeviceType device = runtime::DeviceType::cpu;
};

/// Bytes; what the allocator peaks at, to some 15 percent (it rounds sizes up), without the buffers of a device's
/// libraries.
struct MemoryPlan {
  int64_t weights = 0;
  int64_t gradients = 0;
  int64_t optimizer = 0;  ///< moments and master weights
  int64_t activations = 0;
  int64_t kv_cache = 0;

  int64_t total() const { return weights + gradients + optimizer + activations + kv_cache; }
};

MemoryPlan plan_training(const DecoderConfig& config, const TrainingShape& shape);

/// Generation. @param sequences that run at once, each of `length` tokens with its completion; the estimate of
/// activations is for prompts that are as long. @param most_cache_bytes of the KV cache (`default_cache_bytes`), unless
/// one sequence needs more
MemoryPlan plan_inference(const DecoderConfig& config, runtime::DType dtype, int64_t sequences, int64_t length,
                          int64_t most_cache_bytes);

/// Floating-point operations per token of the forward pass over documents of `length` tokens: 2 per weight of every
/// product, and 4 * q_size per visible key and layer. The embedding lookup counts nothing.
double forward_flops_per_token(const DecoderConfig& config, int64_t length);

/// Forward and backward: 3 times the forward pass, recomputation not counted (the convention of model flops
/// utilisation; PaLM, appendix B).
double training_flops_per_token(const DecoderConfig& config, int64_t length);

}  // namespace subspect::model
