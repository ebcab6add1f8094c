// Inner products of the updates of several models from one, tensor by tensor: norms, angles and shares of energy.
#pragma once

#include <string>
#include <vector>

#include "experiments/experiment.h"
#include "experiments/subspace/weights.h"

namespace subspect::experiments::subspace {

/// <D_i, D_j> at [i][j], in float64.
using UpdateProducts = std::vector<std::vector<double>>;

/// Those of each of `tensors`, for the updates D_i = checkpoint i + 1 - checkpoint 0. Throws Interrupted between two
/// batches of tensors.
std::vector<UpdateProducts> update_products(RunContext& context, const std::vector<WeightSource>& checkpoints,
                                            const std::vector<std::string>& tensors);

/// Their sum over the tensors.
UpdateProducts total(const std::vector<UpdateProducts>& by_tensor, size_t updates);

}  // namespace subspect::experiments::subspace
