// Weights that an experiment forms in memory from those of checkpoints: stored tensors, some of them replaced.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "experiments/subspace/weights.h"
#include "model/checkpoint.h"

namespace subspect::experiments::subspace {

/// Every tensor of a checkpoint as stored, on its mapping.
model::NamedTensors stored_weights(const WeightSource& source);

/// Replaces each of `tensors` in `weights` by make(i), a float32 tensor, rounded once to the dtype that `like` stores
/// it in, in host memory. Several at a time, each on one thread of the stream's team.
void replace_tensors(runtime::Stream& stream, const WeightSource& like, const std::vector<std::string>& tensors,
                     const std::function<runtime::Tensor(size_t)>& make, model::NamedTensors& weights);

}  // namespace subspect::experiments::subspace
