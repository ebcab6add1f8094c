// Directions, refusal tokens, and what interventions do to first tokens.
#include "experiments/subspace/refusal_direction.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "experiments/subspace/columns.h"
#include "runtime/error.h"
#include "runtime/linalg/finite.h"
#include "runtime/ops/embedding.h"
#include "runtime/random.h"

namespace subspect::experiments::subspace {

namespace {

using model::Decoder;
using model::Intervention;
using runtime::Tensor;

/// Scores of the vocabulary after each prompt of a batch, [prompts, vocabulary].
std::vector<float> last_logits(runtime::Stream& stream, Decoder& decoder, const PromptBatch& batch,
                               const Intervention* intervention) {
  const Tensor hidden = decoder.forward({stream}, batch.packed, {.intervention = intervention}).value;
  std::vector<int32_t> rows;
  int32_t position = 0;
  for (const std::vector<int32_t>& ids : batch.prompts) {
    position += static_cast<int32_t>(ids.size());
    rows.push_back(position - 1);
  }
  const Tensor at = Tensor::from_host<int32_t>(stream, rows, {static_cast<int64_t>(rows.size())});
  return decoder.logits(stream, runtime::ops::take_rows({stream}, hidden, at)).to_host<float>(stream);
}

/// log softmax.
std::vector<double> log_probabilities(std::span<const float> logits) {
  const double highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0.0;
  for (const float x : logits) sum += std::exp(x - highest);
  const double normalizer = highest + std::log(sum);
  std::vector<double> result;
  result.reserve(logits.size());
  for (const float x : logits) result.push_back(x - normalizer);
  return result;
}

double divergence(const std::vector<double>& plain, const std::vector<double>& steered) {
  double sum = 0.0;
  for (size_t t = 0; t < plain.size(); ++t) sum += std::exp(plain[t]) * (plain[t] - steered[t]);
  return sum;
}

/// @param refusing ascending
FirstToken first_token(const std::vector<double>& log_probability, std::span<const int32_t> refusing) {
  double refusal = 0.0;
  double other = 0.0;
  for (size_t t = 0; t < log_probability.size(); ++t) {
    const bool refuses = std::binary_search(refusing.begin(), refusing.end(), static_cast<int32_t>(t));
    (refuses ? refusal : other) += std::exp(log_probability[t]);
  }
  return {.refusal = refusal, .log_odds = std::log(refusal) - std::log(other)};
}

}  // namespace

Direction difference_of_means(const Tensor& harmful, const Tensor& harmless, int64_t layer) {
  const std::string label = fmt::format("hidden state {}", layer);
  for (const Tensor* states : {&harmful, &harmless}) {
    runtime::linalg::require_finite(*states, label, "before their means are compared");
  }
  const std::vector<double> from = row_means(harmless);
  const std::vector<double> to = row_means(harmful);
  Direction direction{.layer = layer, .difference = {}, .length = 0};
  double squares = 0.0;
  for (size_t d = 0; d < to.size(); ++d) {
    direction.difference.push_back(static_cast<float>(to[d] - from[d]));
    squares += (to[d] - from[d]) * (to[d] - from[d]);
  }
  direction.length = std::sqrt(squares);
  if (direction.length == 0.0) {
    throw runtime::Error("harmful and harmless prompts have the same mean state", label,
                         "leave this layer out: the last token of every prompt is the same here");
  }
  return direction;
}

std::vector<float> random_direction(int64_t hidden, double length, uint64_t seed, int64_t draw) {
  runtime::Random random(seed, runtime::stream_of(fmt::format("steering/random/{}", draw)));
  std::vector<double> values;
  double squares = 0.0;
  for (int64_t d = 0; d < hidden; ++d) {
    values.push_back(random.normal());
    squares += values.back() * values.back();
  }
  std::vector<float> direction;
  for (const double x : values) direction.push_back(static_cast<float>(x * length / std::sqrt(squares)));
  return direction;
}

std::vector<int32_t> refusal_tokens(std::span<const double> harmful, std::span<const double> harmless) {
  std::vector<int32_t> tokens;
  for (size_t t = 0; t < harmful.size(); ++t) {
    if (harmful[t] >= refusal_share && harmful[t] >= refusal_ratio * harmless[t]) {
      tokens.push_back(static_cast<int32_t>(t));
    }
  }
  return tokens;
}

std::vector<double> mean_first_tokens(RunContext& context, Decoder& decoder, const BatchRequest& request) {
  const auto vocabulary = static_cast<size_t>(decoder.config().vocab_size);
  std::vector<double> means(vocabulary, 0.0);
  for_each_batch(context, request, [&](const PromptBatch& batch) {
    const std::vector<float> logits = last_logits(context.stream, decoder, batch, nullptr);
    for (size_t prompt = 0; prompt < batch.prompts.size(); ++prompt) {
      const auto row = log_probabilities(std::span(logits).subspan(prompt * vocabulary, vocabulary));
      for (size_t t = 0; t < vocabulary; ++t)
        means[t] += std::exp(row[t]) / static_cast<double>(request.prompts.size());
    }
  });
  return means;
}

std::vector<std::vector<FirstToken>> measure_first_tokens(RunContext& context, Decoder& decoder,
                                                          const FirstTokenRequest& request) {
  std::vector<std::vector<FirstToken>> results(request.interventions.size());
  const auto vocabulary = static_cast<size_t>(decoder.config().vocab_size);
  for_each_batch(context, request.prompts, [&](const PromptBatch& batch) {
    const std::vector<float> plain = last_logits(context.stream, decoder, batch, nullptr);
    for (size_t i = 0; i < results.size(); ++i) {
      const Intervention* intervention = request.interventions[i];
      const std::vector<float> steered =
          intervention == nullptr ? plain : last_logits(context.stream, decoder, batch, intervention);
      for (size_t prompt = 0; prompt < batch.prompts.size(); ++prompt) {
        const auto row = [&](const std::vector<float>& all) {
          return log_probabilities(std::span(all).subspan(prompt * vocabulary, vocabulary));
        };
        const std::vector<double> after = row(steered);
        results[i].push_back(first_token(after, request.refusal_tokens));
        if (intervention != nullptr) results[i].back().divergence = divergence(row(plain), after);
      }
    }
  });
  return results;
}

bool is_eligible(const DirectionEffect& effect, int64_t decoder_layers) {
  return effect.induce > 0.0 && effect.divergence < most_divergence &&
         static_cast<double>(effect.layer) < last_layer_share * static_cast<double>(decoder_layers);
}

size_t best_direction(std::span<const DirectionEffect> effects, int64_t decoder_layers) {
  const bool any = std::any_of(effects.begin(), effects.end(),
                               [&](const DirectionEffect& effect) { return is_eligible(effect, decoder_layers); });
  size_t best = effects.size();
  for (size_t i = 0; i < effects.size(); ++i) {
    if (any && !is_eligible(effects[i], decoder_layers)) continue;
    if (best == effects.size() || effects[i].bypass < effects[best].bypass) best = i;
  }
  return best;
}

}  // namespace subspect::experiments::subspace
