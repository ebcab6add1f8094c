// Opening checkpoints.
#include "experiments/subspace/checkpoints.h"

#include "model/hub.h"

namespace subspect::experiments::subspace {

namespace {

void open_next(std::vector<WeightSource>& opened, const std::string& name, const std::string& text) {
  opened.push_back(WeightSource::open(name, model::find_model(text)));
  require_same_tensors(opened.front(), opened.back());
}

}  // namespace

std::vector<WeightSource> open_checkpoints(const Named<ModelPath>& models) {
  std::vector<WeightSource> opened;
  for (const auto& [name, path] : models) open_next(opened, name, path.string());
  return opened;
}

std::optional<std::vector<WeightSource>> open_planned(const PlanContext& context, const Named<ModelPath>& models) {
  std::vector<WeightSource> opened;
  for (const auto& [name, path] : models) {
    const std::string described = context.describing(path);
    if (described.empty() || described.ends_with(".json")) return std::nullopt;
    open_next(opened, name, described);
  }
  return opened;
}

}  // namespace subspect::experiments::subspace
