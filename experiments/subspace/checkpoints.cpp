// Opening checkpoints.
#include "experiments/subspace/checkpoints.h"

#include "model/hub.h"

namespace subspect::experiments::subspace {

namespace {

void open_next(std::vector<WeightSource>& opened, const std::string& name, const std::string& text,
               const model::Downloads* downloads) {
  opened.push_back(WeightSource::open(name, model::find_model(text, downloads)));
  require_same_tensors(opened.front(), opened.back());
}

}  // namespace

Named<ModelPath> listed(Named<ModelPath> first, const Named<ModelPath>& others) {
  first.insert(first.end(), others.begin(), others.end());
  return first;
}

std::vector<WeightSource> open_checkpoints(const RunContext& context, const Named<ModelPath>& models) {
  std::vector<WeightSource> opened;
  for (const auto& [name, path] : models) open_next(opened, name, path.string(), context.downloads);
  return opened;
}

std::optional<std::vector<WeightSource>> open_planned(const PlanContext& context, const Named<ModelPath>& models) {
  std::vector<WeightSource> opened;
  for (const auto& [name, path] : models) {
    const std::string described = context.describing(path);
    if (described.empty() || !context.has_weights(described)) return std::nullopt;
    open_next(opened, name, described, context.downloads);
  }
  return opened;
}

}  // namespace subspect::experiments::subspace
