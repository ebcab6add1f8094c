// LoX: the aligned model is moved further along the strongest directions of its alignment, before any fine-tuning.
// Method: "LoX: Low-Rank Extrapolation Robustifies LLM Safety Against Fine-tuning" (arXiv 2506.15606):
// W = A + alpha Proj_k(V), V = A - B, Proj_k the first k singular directions of V. A vector is a column: Proj_k(V) = V.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/experiment.h"
#include "experiments/subspace/weights.h"
#include "model/checkpoint.h"
#include "runtime/linalg/left_basis.h"

namespace subspect::experiments::subspace {

struct LoxSettings {
  int64_t rank = 6;  ///< k, of every matrix; fewer where V has fewer directions
  double alpha = 1.25;
  runtime::linalg::BasisOptions basis;  ///< its rank is set to k
};

/// What was added to one tensor.
struct LoxTensor {
  std::string tensor;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t rank = 0;      ///< directions used; 1 for a vector, 0 where V = 0
  double alignment = 0;  ///< ||V||^2
  double projected = 0;  ///< ||Proj_k(V)||^2
  std::string method;    ///< of the decomposition; "direction" for a vector
  double residual = 0;
};

struct LoxModel {
  model::NamedTensors weights;     ///< in the aligned checkpoint's dtypes, in host memory
  std::vector<LoxTensor> tensors;  ///< in the order of `tensors`
};

/// The extrapolated model; tensors that are not in `tensors` stay those of A. Throws Interrupted between two batches.
LoxModel extrapolate(RunContext& context, const WeightSource& base, const WeightSource& aligned,
                     const std::vector<std::string>& tensors, const LoxSettings& settings);

}  // namespace subspect::experiments::subspace
