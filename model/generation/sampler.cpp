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

void penalise(Stream& stream, const Tensor& logits, std::span<const SamplerRow> rows, double penalty) {
  std::vector<int32_t> tokens;
  std::vector<int64_t> offsets = {0};
  for (const SamplerRow& row : rows) {
    tokens.insert(tokens.end(), row.tokens.begin(), row.tokens.end());
    offsets.push_back(static_cast<int64_t>(tokens.size()));
  }
  const Tensor tokens_N = Tensor::from_host<int32_t>(stream, tokens, {offsets.back()});
  const Tensor offsets_B = Tensor::from_host<int64_t>(stream, offsets, {static_cast<int64_t>(offsets.size())});
  ops::penalize_repetition(Execution{stream}, logits, tokens_N, offsets_B, static_cast<float>(penalty));
}

/// In [0, 1): 24 bits of the block that belongs to this sequence and position.
float uniform(uint64_t seed, const SamplerRow& row) {
  const runtime::Philox philox(seed, static_cast<uint64_t>(row.sequence));
  return static_cast<float>(philox.block(static_cast<uint64_t>(row.position))[0] >> 8U) * 0x1p-24F;
}

Tensor draw(Stream& stream, const Tensor& logits, std::span<const SamplerRow> rows, const SamplingOptions& options) {
  std::vector<float> uniforms;
  for (const SamplerRow& row : rows) uniforms.push_back(uniform(options.seed, row));
  return ops::sample(Execution{stream}, logits, Tensor::from_host<float>(stream, uniforms, {logits.size(0)}),
                     {.temperature = static_cast<float>(options.temperature),
                      .top_k = options.top_k,
                      .top_p = static_cast<float>(options.top_p)});
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

std::vector<int32_t> choose_tokens(Stream& stream, const Tensor& logits, std::span<const SamplerRow> rows,
                                   const SamplingOptions& options) {
  if (options.repetition_penalty != 1.0) penalise(stream, logits, rows, options.repetition_penalty);
  const Tensor ids =
      options.temperature > 0 ? draw(stream, logits, rows, options) : ops::argmax(Execution{stream}, logits);
  return ids.to_host<int32_t>(stream);
}

}  // namespace subspect::model
