// Sampler: the next token of each sequence from its scores.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/generation/generate.h"
#include "runtime/tensor.h"

namespace subspect::model {

/// What the choice for one row of scores depends on, besides the scores.
struct SamplerRow {
  int64_t sequence = 0;             ///< number of the prompt: the stream of random numbers
  int64_t position = 0;             ///< of the new token: the place in that stream
  std::span<const int32_t> tokens;  ///< prompt and completion so far, for the repetition penalty
};

/// Throws UsageError for options out of range.
void check_sampling(const SamplingOptions& options);

/// Chooses one id per row. @param logits float32 [rows, vocab]; changed in place.
std::vector<int32_t> choose_tokens(runtime::Stream& stream, const runtime::Tensor& logits,
                                   std::span<const SamplerRow> rows, const SamplingOptions& options);

}  // namespace subspect::model
