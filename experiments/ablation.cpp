// Ablation: the groups, the energy that each holds, and its two models.
#include "experiments/ablation.h"

#include <algorithm>
#include <map>

#include "experiments/subspace/checkpoints.h"
#include "experiments/subspace/formed_weights.h"
#include "experiments/subspace/update_products.h"

namespace subspect::experiments {

using subspace::FormedModel;
using subspace::WeightSource;

struct Ablation::Inputs {
  std::vector<WeightSource> checkpoints;  ///< the aligned model, then the fine-tuned ones
  std::vector<Group> groups;
  std::vector<std::map<std::string, double>> energies;  ///< ||D||^2 of each tensor, by fine-tuned model
};

void Ablation::visit(Fields& f) {
  f.field("aligned", aligned_, "A, the model that was fine-tuned", Rule().required());
  f.field("finetuned", finetuned_, "name -> F, models fine-tuned from A; their updates are D = F - A",
          Rule().required().not_empty());
  subspace::check_names(f, finetuned_, {"aligned"});
  f.field("groups", groups_,
          "of tensors: layers (each decoder layer, and each tensor outside them), modules (each kind of matrix in all "
          "layers, all norms, the embeddings), or globs",
          Rule().one_of({"layers", "modules", "globs"}));
  if (f.when(groups_ == "globs", "groups is globs")) {
    f.field("globs", globs_, "name of a group -> globs of its tensors; groups may overlap",
            Rule().required().not_empty());
  }
  f.field("modes", modes_, "only: A + D in the group, A elsewhere; without: A in the group, A + D elsewhere",
          Rule().not_empty().one_of({"only", "without"}));
  formed_.visit(f);
}

Named<ModelPath> Ablation::models() const {
  return subspace::listed({{"aligned", aligned_}}, finetuned_);
}

std::vector<Ablation::Group> Ablation::groups(const WeightSource& source) const {
  std::vector<Group> all;
  if (groups_ == "globs") {
    for (const auto& [name, globs] : globs_) all.push_back({name, select_tensors(source, globs, "globs")});
    return all;
  }
  for (const std::string& tensor : source.tensors()) {
    const std::string name = groups_ == "layers" ? subspace::group_of(tensor) : subspace::module_of(tensor);
    auto found = std::find_if(all.begin(), all.end(), [&](const Group& group) { return group.name == name; });
    if (found == all.end()) found = all.insert(all.end(), {name, {}});
    found->tensors.push_back(tensor);
  }
  const auto layer_number = [](const Group& group) {
    const bool is_layer = group.name.starts_with("layers.");
    return is_layer ? std::stoll(group.name.substr(7)) : -1;  // files have layers.10 before layers.2
  };
  if (groups_ == "layers") {
    std::stable_sort(all.begin(), all.end(),
                     [&](const Group& a, const Group& b) { return layer_number(a) < layer_number(b); });
  }
  return all;
}

Plan Ablation::plan(const PlanContext& context) const {
  Plan plan;
  plan.steps.push_back(fmt::format("measure {} updates", finetuned_.size()));
  const auto opened = subspace::open_planned(context, models());
  std::optional<size_t> count;  // of the groups, as far as it is known before the models are made
  if (opened) count = groups(opened->front()).size();
  if (groups_ == "globs") count = globs_.size();
  if (const auto config = context.decoder_config(aligned_); config && !count) {
    const size_t outside = config->tied_embeddings ? 2 : 3;  // embeddings, norms (or the last one), output projection
    constexpr size_t matrices = 7;                           // of a block: model/architectures/architecture.h
    count = outside + (groups_ == "layers" ? static_cast<size_t>(config->layers) : matrices);
  }
  plan.facts.emplace_back("groups", count ? std::to_string(*count) : "not known before the models are made");
  const size_t models = 1 + finetuned_.size() * (1 + modes_.size() * count.value_or(0));
  subspace::plan_formed_models(context, formed_, aligned_, static_cast<int64_t>(models), plan);
  return plan;
}

FormedModel Ablation::plain(const Inputs& inputs, size_t checkpoint) const {
  FormedModel model = subspace::stored_model(inputs.checkpoints[checkpoint]);
  model.key = {{"model", model.name}, {"group", "none"}, {"mode", "none"}};
  if (checkpoint > 0) model.facts = {{"energy_share", 1.0}};
  return model;
}

FormedModel Ablation::restricted(const Inputs& inputs, size_t finetuned, const Group& group,
                                 const std::string& mode) const {
  const WeightSource& aligned = inputs.checkpoints.front();
  const WeightSource& tuned = inputs.checkpoints[finetuned + 1];
  double all = 0.0, held = 0.0;
  for (const auto& tensor : inputs.energies[finetuned]) all += tensor.second;
  int64_t parameters = 0;
  for (const std::string& tensor : group.tensors) {
    held += inputs.energies[finetuned].at(tensor);
    parameters += subspace::elements(aligned.info(tensor).shape);
  }
  FormedModel model;
  model.name = fmt::format("{}-{}-{}", tuned.name(), mode, group.name);
  model.key = {{"model", tuned.name()}, {"group", group.name}, {"mode", mode}};
  model.facts = {{"tensors", group.tensors.size()},
                 {"parameters", parameters},
                 {"energy_share", all > 0.0 ? Cell(held / all) : Cell()}};
  model.origin = &tuned;
  if (formed_.save_models) model.folder = std::filesystem::path("models") / model.name;
  const bool only = mode == "only";
  model.weights = [&aligned, &tuned, &group, only] {
    const WeightSource& inside = only ? tuned : aligned;
    model::NamedTensors weights = stored_weights(only ? aligned : tuned);
    for (const std::string& tensor : group.tensors) weights[tensor] = inside.stored(tensor);
    return weights;
  };
  model.against = {{"aligned", "aligned"}, {"unprojected", tuned.name()}};
  return model;
}

void Ablation::run(RunContext& context) {
  Inputs inputs;
  inputs.checkpoints = subspace::open_checkpoints(context, models());
  const WeightSource& aligned = inputs.checkpoints.front();
  inputs.groups = groups(aligned);
  const auto products = update_products(context, inputs.checkpoints, aligned.tensors());
  inputs.energies.resize(finetuned_.size());
  for (size_t t = 0; t < products.size(); ++t) {
    for (size_t i = 0; i < finetuned_.size(); ++i) inputs.energies[i][aligned.tensors()[t]] = products[t][i][i];
  }
  std::vector<FormedModel> formed;
  for (size_t i = 0; i < inputs.checkpoints.size(); ++i) formed.push_back(plain(inputs, i));
  for (size_t i = 0; i < finetuned_.size(); ++i) {
    for (const std::string& mode : modes_) {
      for (const Group& group : inputs.groups) formed.push_back(restricted(inputs, i, group, mode));
    }
  }
  subspace::FormedModels(context, formed_, aligned.directory(), {"model", "group", "mode"},
                         {"tensors", "parameters", "energy_share"})
      .run(formed);
}

}  // namespace subspect::experiments
