// Sampler: the next token of each sequence from its scores, on the device of the scores.
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

/// The same of all rows, on the device; undefined where the options need none.
struct SamplerInputs {
  runtime::Tensor uniforms;  ///< [rows] float32: `uniform_number`; not needed at temperature 0
  runtime::Tensor tokens;    ///< int32: row after row, repeats are harmless; needed for a repetition penalty
  runtime::Tensor offsets;   ///< [rows + 1] int64: row i has tokens [offsets[i], offsets[i + 1])
};

/// Throws UsageError for options out of range.
void check_sampling(const SamplingOptions& options);

/// The number in [0, 1) that decides a row's draw.
float uniform_number(uint64_t seed, const SamplerRow& row);

/// One id per row: [rows] int32. @param logits float32 [rows, vocab]; changed in place.
runtime::Tensor choose_on_device(runtime::Stream& stream, const runtime::Tensor& logits, const SamplerInputs& inputs,
                                 const SamplingOptions& options);

/// The same from rows on the host, to the host.
std::vector<int32_t> choose_tokens(runtime::Stream& stream, const runtime::Tensor& logits,
                                   std::span<const SamplerRow> rows, const SamplingOptions& options);

}  // namespace subspect::model
