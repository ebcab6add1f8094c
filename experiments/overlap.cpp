// The overlap experiment: its configuration and plan.
#include "experiments/overlap.h"

#include <algorithm>

#include "experiments/deviations.h"
#include "experiments/subspace/checkpoints.h"
#include "experiments/subspace/factors.h"
#include "experiments/subspace/overlap_run.h"
#include "model/tensor_shapes.h"
#include "runtime/error.h"

namespace subspect::experiments {

using subspace::Granularity;
using subspace::WeightSource;

void Overlap::visit(Fields& f) {
  f.field("reference", reference_, "updates are model - reference", Rule().required());
  f.field("models", models_,
          "name -> model; the model before alignment gives the alignment's subspace (a sign does not matter)",
          Rule().required().not_empty());
  f.field("pairs", pairs_, "pairs of names from models; none: every pair");
  const auto known = [&](const std::string& name) {
    return std::any_of(models_.begin(), models_.end(), [&](const auto& model) { return model.first == name; });
  };
  for (const auto& pair : pairs_) {
    for (const std::string& name : pair) {
      f.check(known(name), "pairs", fmt::format("there is no model '{}'", name), "use names from models");
    }
  }
  f.field(
      "granularity", granularity_,
      "tensor: each alone; layer: the tensors of a decoder layer with the same number of columns, stacked along rows",
      Rule().not_empty().one_of({"tensor", "layer"}));
  f.field("sides", sides_, "singular vectors of the updates that are compared: left (of rows) or right (of columns)",
          Rule().not_empty().one_of({"left", "right"}));
  f.field("energies", energies_, "shares of the squared norm that the compared subspaces hold",
          Rule().not_empty().above(0).at_most(1));
  f.field("tensors", tensors_, "globs of tensors that are compared", Rule().not_empty());
  f.field("principal_angles", principal_angles_,
          "also write angles.csv: cosines of the principal angles, and with baseline_draws those of random subspaces");
  if (f.when(principal_angles_, "principal_angles is true")) {
    f.field("angle_energies", angle_energies_, "those of energies whose angles are written; none: all");
    for (const double energy : angle_energies_) {
      f.check(std::count(energies_.begin(), energies_.end(), energy) > 0, "angle_energies",
              fmt::format("{} is not among energies", energy), "list it there, too");
    }
  }
  f.field("spectrum_points", spectrum_points_, "singular values per matrix in spectra.csv, evenly spaced in log(index)",
          Rule().at_least(0));
  f.field(
      "baseline_draws", baseline_draws_,
      "pairs of random subspaces whose mean overlap is written as mso_random_mc, beside the closed form mso_random; "
      "each costs about a decomposition",
      Rule().at_least(0));
  if (f.when(baseline_draws_ > 0, "baseline_draws is positive")) {
    f.field("seed", seed_, "of the random subspaces", Rule().at_least(0));
  }
  decomposition_.visit(f);
  visit_deviations(f, "overlap", deviations_);
}

std::vector<Granularity> Overlap::compared_granularity() const {
  std::vector<Granularity> compared;
  for (const Granularity kind : {Granularity::tensor, Granularity::layer}) {
    const bool matches_nothing = kind == Granularity::layer && deviates(deviations_, "layer_pattern");
    const bool asked = std::count(granularity_.begin(), granularity_.end(), name(kind)) > 0;
    if (asked && !matches_nothing) compared.push_back(kind);
  }
  return compared;
}

Named<ModelPath> Overlap::checkpoints() const {
  return subspace::listed({{"reference", reference_}}, models_);
}

namespace {

/// What the decompositions of `count` matrices take, and comparing them.
void add_cost(Plan& plan, int64_t rows, int64_t cols, size_t count) {
  plan.flops += static_cast<double>(count) * subspace::decomposition_flops({rows, cols}, 1);
  plan.host_bytes =
      std::max(plan.host_bytes, subspace::factor_workspace_bytes({rows, cols}, 0) * static_cast<int64_t>(count));
}

}  // namespace

Plan Overlap::plan(const PlanContext& context) const {
  Plan plan;
  plan.steps.push_back(fmt::format("decompose the updates of {} models, once per matrix", models_.size()));
  plan.steps.push_back("compare pairs at every energy");
  const auto opened = subspace::open_planned(context, checkpoints());
  if (!opened) {
    if (const auto known = context.decoder_config(reference_)) {
      for (const runtime::Shape& shape : model::tensor_shapes(*known)) {
        add_cost(plan, shape[0], shape.size() > 1 ? shape[1] : 1, models_.size() * sides_.size());
      }
    }
    return plan;
  }
  const WeightSource& reference = opened->front();
  const std::vector<std::string> tensors = subspace::select_tensors(reference, tensors_, "tensors");
  for (const Granularity kind : compared_granularity()) {
    const std::vector<subspace::UpdateGroup> groups = subspace::make_groups(reference, tensors, kind);
    plan.facts.emplace_back(fmt::format("groups ({})", name(kind)), std::to_string(groups.size()));
    for (const subspace::UpdateGroup& group : groups) {
      if (kind == Granularity::tensor) plan.parameters += group.rows * group.cols;
      add_cost(plan, group.rows, group.cols, models_.size() * sides_.size());
    }
  }
  return plan;
}

void Overlap::run(RunContext& context) {
  const std::vector<WeightSource> opened = subspace::open_checkpoints(context, checkpoints());
  std::vector<const WeightSource*> models;
  for (size_t i = 1; i < opened.size(); ++i) models.push_back(&opened[i]);
  const auto index_of = [&](const std::string& name) {
    const auto found =
        std::find_if(models_.begin(), models_.end(), [&](const auto& model) { return model.first == name; });
    return static_cast<size_t>(found - models_.begin());
  };
  subspace::OverlapSettings settings;
  for (const auto& pair : pairs_) settings.pairs.emplace_back(index_of(pair[0]), index_of(pair[1]));
  if (pairs_.empty()) {
    for (size_t a = 0; a < models_.size(); ++a) {
      for (size_t b = a + 1; b < models_.size(); ++b) settings.pairs.emplace_back(a, b);
    }
  }
  settings.granularity = compared_granularity();
  settings.sides.clear();
  for (const subspace::Side side : {subspace::Side::left, subspace::Side::right}) {
    if (std::count(sides_.begin(), sides_.end(), name(side)) > 0) settings.sides.push_back(side);
  }
  settings.energies = energies_;
  settings.tensors = tensors_;
  if (principal_angles_) settings.angle_energies = angle_energies_.empty() ? energies_ : angle_energies_;
  settings.spectrum_points = spectrum_points_;
  settings.baseline_draws = baseline_draws_;
  settings.seed = static_cast<uint64_t>(seed_);
  settings.basis = decomposition_.options(context);
  subspace::OverlapRun(context, std::move(settings), opened.front(), std::move(models)).run();
}

}  // namespace subspect::experiments
