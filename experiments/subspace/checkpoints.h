// The checkpoints that an experiment compares, opened for a plan or a run.
#pragma once

#include <optional>
#include <vector>

#include "experiments/experiment.h"
#include "experiments/subspace/weights.h"

namespace subspect::experiments::subspace {

/// The first models, then the others.
Named<ModelPath> listed(Named<ModelPath> first, const Named<ModelPath>& others);

/// Every model, in order. Throws Error unless all have the tensors of the first.
std::vector<WeightSource> open_checkpoints(const RunContext& context, const Named<ModelPath>& models);

/// The same for a plan; nullopt where a stage of the study has yet to make one of them, or a download is assumed.
std::optional<std::vector<WeightSource>> open_planned(const PlanContext& context, const Named<ModelPath>& models);

/// Shapes of the tensors of these checkpoints that the globs choose; where they are not there yet, of all that a model
/// has whose config.json is; none where no config.json is.
std::vector<runtime::Shape> planned_shapes(const PlanContext& context, const Named<ModelPath>& models,
                                           const std::vector<std::string>& globs);

}  // namespace subspect::experiments::subspace
