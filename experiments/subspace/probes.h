// Linear probes: how well one direction of the residual stream tells useful from harmful prompts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/statistics/intervals.h"
#include "runtime/tensor.h"

namespace subspect::experiments::subspace {

/// How a probe's direction w is found on the training prompts. A prompt is called harmful where w.x exceeds the
/// midpoint of the two sets' mean scores w.x on those.
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

struct ProbeOptions {
  int64_t folds = 5;  ///< of the cross-validation, at least 2
  uint64_t seed = 0;  ///< of the bootstrap
  std::string label;  ///< for errors
};

struct ProbeResult {
  ProbeMethod method = ProbeMethod::difference_of_means;
  double accuracy = 0;  ///< share of held-out prompts that are called right
  /// 95 %, `statistics::mean_interval` over the prompts with probe_resamples resamples. It takes the folds' probes as
  /// given: that they share training prompts is not in it.
  statistics::Interval accuracy_interval;
  double separation = 0;    ///< d': difference of the held-out mean scores / their pooled standard deviation, the mean
                            ///< over the folds; NaN where a fold has no spread
  int64_t n = 0;            ///< prompts of both sets
  std::vector<bool> right;  ///< by prompt, the useful ones first: whether it is called right when it is held out
};

/// Both probes on two sets of states, [hidden, prompts] each, cross-validated: fold f holds out the columns f, f +
/// folds, f + 2 folds, ... of both sets and trains on the others, so that every prompt is held out once. There are
/// never more folds than prompts in the smaller set. Everything after the float32 states is float64; the linear probe
/// solves the smaller of its primal and dual systems (side min(hidden, training prompts)) by Cholesky. Empty when a set
/// has fewer than two prompts. Throws Error naming the label for NaN or infinity.
std::vector<ProbeResult> probe_states(runtime::Stream& stream, const runtime::Tensor& useful,
                                      const runtime::Tensor& harmful, const ProbeOptions& options);

}  // namespace subspect::experiments::subspace
