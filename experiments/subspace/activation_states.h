// Hidden states at the last token of prompts, and how the subspaces of two sets of them overlap.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "experiments/experiment.h"
#include "experiments/statistics/intervals.h"
#include "experiments/subspace/subspace_pair.h"
#include "model/decoder.h"
#include "model/prompts.h"
#include "runtime/tensor.h"

namespace subspect::experiments::subspace {

/// Which tokens of a prompt that is too long are left.
enum class Kept { beginning, end };

struct PromptIds {
  std::vector<std::vector<int32_t>> ids;
  int64_t cut = 0;  ///< prompts that were too long
};

/// Token ids of instructions written in a format, at most `max_length` each. Throws Error for one without tokens.
PromptIds encode_prompts(const std::vector<std::string>& texts, const model::Tokenizer& tokenizer,
                         const model::PromptFormat& format, int64_t max_length, Kept kept);

/// Prompts that are packed together, and where the first of them stands among all.
struct PromptBatch {
  std::span<const std::vector<int32_t>> prompts;
  int64_t begin = 0;
  model::Batch packed;
};

struct BatchRequest {
  std::span<const std::vector<int32_t>> prompts;  ///< token ids, each at least one
  int64_t batch_tokens = 4096;                    ///< prompts are packed up to here, but at least one is
  std::string label;                              ///< of the progress
};

/// Packs all prompts, in order, into batches. Throws Interrupted between two of them.
void for_each_batch(RunContext& context, const BatchRequest& request,
                    const std::function<void(const PromptBatch&)>& consume);

/// Hidden states 0 (embedding output) to layers (after the final norm) between two fractions of their number L:
/// int(begin L) to int(end L), both included, at most L - 1.
std::vector<int64_t> layers_between(double begin, double end, int64_t hidden_states);

struct StateRequest {
  std::span<const std::vector<int32_t>> prompts;  ///< token ids, each at least one
  std::vector<int64_t> layers;                    ///< indices of hidden states
  int64_t batch_tokens = 4096;                    ///< prompts are packed up to here; does not change a result
  std::string label;                              ///< of the progress
};

/// The residual stream at the last token of every prompt, from a single forward pass over each: for each layer a matrix
/// [hidden, prompts] float32 on the CPU. Throws Interrupted between two batches.
std::vector<runtime::Tensor> last_token_states(RunContext& context, model::Decoder& decoder,
                                               const StateRequest& request);

struct ActivationOverlap {
  std::vector<EnergyOverlap> pair;  ///< useful against harmful
  /// The even useful columns against the odd ones; empty for fewer than 2 columns.
  std::vector<EnergyOverlap> control;
  /// The even useful columns against the odd harmful ones: as many prompts as the control compares. Empty for fewer
  /// than 2 columns.
  std::vector<EnergyOverlap> halves;
  std::string method;   ///< of the pair's decompositions; "gram/exact" where the two differ
  double residual = 0;  ///< the larger of the two
};

/// Compares the left bases of two sets of states, [hidden, prompts] each; centred beforehand if asked.
ActivationOverlap compare_activations(runtime::Stream& stream, const runtime::Tensor& useful,
                                      const runtime::Tensor& harmful, const std::vector<double>& energies, bool center,
                                      const runtime::linalg::BasisOptions& basis, const std::string& label);

struct ResampleOptions {
  int64_t resamples = 0;
  uint64_t seed = 0;
  bool center = false;
  runtime::linalg::BasisOptions basis;
  std::string label;  ///< for errors, and an independent random sequence for each
};

/// 95 % intervals of the MSO of `overlaps` (what `compare_subspaces` gave for the sample): bootstrap over the prompts
/// (columns) of both sets, with replacement. A resample costs what the comparison itself costs: the decomposition of
/// two matrices [hidden, 0.63 prompts]. A resample holds fewer distinct prompts than the sample, which biases its MSO;
/// the interval is therefore the resamples' percentile interval moved to the sample's MSO
/// (`statistics::recentred_interval`), and is about the MSO that as many prompts give. NaN where the MSO is undefined.
/// Throws Interrupted between batches.
std::vector<statistics::Interval> resampled_overlaps(RunContext& context, const runtime::Tensor& useful,
                                                     const runtime::Tensor& harmful,
                                                     const std::vector<EnergyOverlap>& overlaps,
                                                     const ResampleOptions& options);

}  // namespace subspect::experiments::subspace
