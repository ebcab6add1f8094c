// Hidden states at the last token of prompts, and how the subspaces of two sets of them overlap.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "experiments/experiment.h"
#include "experiments/statistics/intervals.h"
#include "experiments/subspace/subspace_pair.h"
#include "model/decoder.h"
#include "runtime/tensor.h"

namespace subspect::experiments::subspace {

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
