// Linear probes: how well one direction of the residual stream tells useful from harmful prompts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/subspace/bootstrap.h"
#include "runtime/tensor.h"

namespace subspect::experiments::subspace {

/// How a probe's direction w is found on the training half. A prompt is called harmful where w.x exceeds the midpoint
/// of the two sets' mean scores w.x on that half.
enum class ProbeMethod {
  /// w = mean(harmful) - mean(useful) (Marks and Tegmark, arXiv 2310.06824, "mass-mean probe").
  difference_of_means,
  /// w = (S + lambda I)^-1 (mean(harmful) - mean(useful)), S the scatter of the training states about their mean and
  /// lambda = probe_ridge trace(S) / hidden: Fisher's discriminant, which is also ridge regression on the labels.
  linear_probe,
};
std::string_view name(ProbeMethod method);

/// Regularisation of the linear probe: this share of the mean variance of a coordinate.
constexpr double probe_ridge = 0.01;
constexpr int64_t probe_resamples = 1000;

struct ProbeResult {
  ProbeMethod method = ProbeMethod::difference_of_means;
  double accuracy = 0;         ///< share of held-out prompts that are called right
  Interval accuracy_interval;  ///< 95 %, percentile bootstrap over held-out prompts, probe_resamples resamples
  double separation = 0;    ///< d': difference of the held-out mean scores / their pooled standard deviation; NaN at 0
  int64_t n = 0;            ///< held-out prompts of both sets
  std::vector<bool> right;  ///< by held-out prompt, the useful ones first: whether it is called right
};

/// Both probes on two sets of states, [hidden, prompts] each: even columns train, odd columns are held out. Everything
/// after the float32 states is float64; the linear probe solves the smaller of its primal and dual systems (side
/// min(hidden, training prompts)) by Cholesky. Empty when a set has fewer than two prompts. Throws Error naming `label`
/// for NaN or infinity. `label` also names the sequence of `seed` that the bootstrap draws.
std::vector<ProbeResult> probe_states(runtime::Stream& stream, const runtime::Tensor& useful,
                                      const runtime::Tensor& harmful, uint64_t seed, const std::string& label);

}  // namespace subspect::experiments::subspace
