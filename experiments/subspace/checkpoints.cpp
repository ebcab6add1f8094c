// Opening checkpoints.
#include "experiments/subspace/checkpoints.h"

#include "model/hub.h"
#include "model/tensor_shapes.h"

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

std::vector<runtime::Shape> planned_shapes(const PlanContext& context, const Named<ModelPath>& models,
                                           const std::vector<std::string>& globs) {
  const auto opened = open_planned(context, models);
  if (!opened) {
    for (const auto& [name, path] : models) {
      if (const auto known = context.decoder_config(path)) return model::tensor_shapes(*known);
    }
    return {};
  }
  std::vector<runtime::Shape> shapes;
  for (const std::string& tensor : select_tensors(opened->front(), globs, "tensors")) {
    shapes.push_back(opened->front().info(tensor).shape);
  }
  return shapes;
}

}  // namespace subspect::experiments::subspace
