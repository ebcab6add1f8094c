// The models whose sizes are benchmarked: bench/shapes/NAME.json, which Transformers reads too.
#pragma once

#include <string>
#include <vector>

#include "bench/session.h"
#include "model/config.h"

namespace subspect::bench {

/// The configuration of that name. Throws Error naming those there are.
model::DecoderConfig read_shape(const std::string& name);

struct ModelChoice {
  std::vector<std::string> models;
  std::vector<runtime::DType> dtypes;
};

/// Takes --models and --dtypes. With --quick "mini"; else on a GPU the four sizes of Qwen2.5.
/// @param on_cpu the models there, unless given
ModelChoice take_models(const Session& session, Arguments& arguments, std::string_view on_cpu, std::string_view dtypes);

/// Flops of a training step for each token of documents of `length` tokens, the denominator of "speed of light":
/// 6 L C (3 I + C + d (H + 2 G)) + 6 V C + 6 L H d T. Products of weights forward and backward, and attention over
/// half of the pairs; without norms, activations and recomputation.
double step_flops_per_token(const model::DecoderConfig& config, int64_t length);

}  // namespace subspect::bench
