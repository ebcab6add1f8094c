// Repetition penalty, then the best score or a draw, on the device of the scores.
#include "model/generation/sampler.h"

#include "runtime/error.h"
#include "runtime/ops/sampling.h"
#include "runtime/random.h"

namespace subspect::model {

using runtime::Execution;
using runtime::Stream;
using runtime::Tensor;
namespace ops = runtime::ops;

namespace {

SamplerInputs upload(Stream& stream, std::span<const SamplerRow> rows, const SamplingOptions& options) {
  SamplerInputs inputs;
  if (options.penalizes()) {
    std::vector<int32_t> tokens;
    std::vector<int64_t> offsets = {0};
    for (const SamplerRow& row : rows) {
      tokens.insert(tokens.end(), row.tokens.begin(), row.tokens.end());
      offsets.push_back(static_cast<int64_t>(tokens.size()));
    }
    inputs.tokens = Tensor::from_host<int32_t>(stream, tokens, {offsets.back()});
    inputs.offsets = Tensor::from_host<int64_t>(stream, offsets, {static_cast<int64_t>(offsets.size())});
  }
  if (options.draws()) {
    std::vector<float> uniforms;
    for (const SamplerRow& row : rows) uniforms.push_back(uniform_number(options.seed, row));
    inputs.uniforms = Tensor::from_host<float>(stream, uniforms, {static_cast<int64_t>(rows.size())});
  }
  return inputs;
}

void check(bool valid, const char* key, double value, const char* range) {
  if (!valid)
    throw runtime::UsageError(fmt::format("{} {} is out of range", key, value), "", fmt::format("give {}", range));
}

}  // namespace

void check_sampling(const SamplingOptions& options) {
  // "not" forms also refuse NaN
  check(options.temperature >= 0, "temperature", options.temperature, "0 (greedy) or more");
  check(options.top_k >= 0, "top_k", static_cast<double>(options.top_k), "0 (all) or more");
  check(options.top_p > 0 && options.top_p <= 1, "top_p", options.top_p, "more than 0 and at most 1");
  check(options.repetition_penalty > 0, "repetition_penalty", options.repetition_penalty, "more than 0, 1 for none");
}

// 24 bits of the block that belongs to this sequence and position.
float uniform_number(uint64_t seed, const SamplerRow& row) {
  const runtime::Philox philox(seed, static_cast<uint64_t>(row.sequence));
  return static_cast<float>(philox.block(static_cast<uint64_t>(row.position))[0] >> 8U) * 0x1p-24F;
}

Tensor choose_on_device(Stream& stream, const Tensor& logits, const SamplerInputs& inputs,
                        const SamplingOptions& options) {
  const Execution on{stream};
  if (options.penalizes()) {
    ops::penalize_repetition(on, logits, inputs.tokens, inputs.offsets, static_cast<float>(options.repetition_penalty));
  }
  if (!options.draws()) return ops::argmax(on, logits);
  return ops::sample(on, logits, inputs.uniforms,
                     {.temperature = static_cast<float>(options.temperature),
                      .top_k = options.top_k,
                      .top_p = static_cast<float>(options.top_p)});
}

std::vector<int32_t> choose_tokens(Stream& stream, const Tensor& logits, std::span<const SamplerRow> rows,
                                   const SamplingOptions& options) {
  return choose_on_device(stream, logits, upload(stream, rows, options), options).to_host<int32_t>(stream);
}

}  // namespace subspect::model
