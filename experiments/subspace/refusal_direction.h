// The direction of refusal: the difference of the mean states of harmful and harmless prompts, and what taking it out
// of the residual stream or putting it in does to the first token of an answer. Method: Arditi et al., "Refusal in
// Language Models Is Mediated by a Single Direction" (arXiv 2406.11717), sections 2.3 and 2.4 and appendices B and C.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "experiments/subspace/activation_states.h"
#include "model/intervention.h"

namespace subspect::experiments::subspace {

/// mean(harmful) - mean(harmless), with its length: the difference of the two sets' mean projections onto it.
struct Direction {
  int64_t layer = 0;              ///< the hidden state that it was taken at
  std::vector<float> difference;  ///< [hidden]
  double length = 0;
};

/// @param harmful, harmless states [hidden, prompts] of the layer. Sums are float64. Throws Error for NaN or infinity,
/// and where the means are equal (the embedding of a last token that all prompts share, say).
Direction difference_of_means(const runtime::Tensor& harmful, const runtime::Tensor& harmless, int64_t layer);

/// A random direction of the same length: a vector of independent normal numbers, scaled.
std::vector<float> random_direction(int64_t hidden, double length, uint64_t seed, int64_t draw);

/// A token begins a refusal when its mean probability as the first of an answer is at least `refusal_share` after
/// harmful prompts and at least `refusal_ratio` times that after harmless ones.
constexpr double refusal_share = 0.05;
constexpr double refusal_ratio = 2.0;

/// Those tokens, ascending; none where the model begins its answers to both sets alike. (Arditi et al. name them by
/// hand for each family.) @param harmful, harmless [vocabulary], see `mean_first_tokens`
std::vector<int32_t> refusal_tokens(std::span<const double> harmful, std::span<const double> harmless);

/// The probability of every token to be the first after a prompt, mean over the prompts: [vocabulary].
std::vector<double> mean_first_tokens(RunContext& context, model::Decoder& decoder, const BatchRequest& request);

/// The distribution of the first token after one prompt.
struct FirstToken {
  double refusal = 0;     ///< probability of the refusal tokens together
  double log_odds = 0;    ///< log(refusal / (1 - refusal)), the refusal metric of Arditi et al.
  double divergence = 0;  ///< KL(without the intervention || with it), in nats
};

struct FirstTokenRequest {
  BatchRequest prompts;
  std::span<const int32_t> refusal_tokens;
  /// nullptr: none. Each is measured on its own.
  std::span<const model::Intervention* const> interventions;
};

/// For each intervention the first tokens of all prompts, in order. Softmax and sums are float64.
std::vector<std::vector<FirstToken>> measure_first_tokens(RunContext& context, model::Decoder& decoder,
                                                          const FirstTokenRequest& request);

/// What a direction does on held-out prompts (appendix C).
struct DirectionEffect {
  int64_t layer = 0;
  double bypass = 0;      ///< mean log odds of refusing a harmful prompt, the direction ablated
  double induce = 0;      ///< the same of a harmless prompt, the direction added at its layer
  double divergence = 0;  ///< mean KL of harmless prompts, the direction ablated
};

/// Only a direction that makes the model refuse harmless prompts, and whose removal hardly changes the answers to them,
/// is taken, from the first four fifths of the layers.
constexpr double most_divergence = 0.1;
constexpr double last_layer_share = 0.8;
bool is_eligible(const DirectionEffect& effect, int64_t decoder_layers);

/// The index of the effect with the lowest bypass among the eligible ones; among all where none is.
size_t best_direction(std::span<const DirectionEffect> effects, int64_t decoder_layers);

}  // namespace subspect::experiments::subspace
