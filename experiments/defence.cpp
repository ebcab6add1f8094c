// Defences: their configuration, and the rows and models of each.
#include "experiments/defence.h"

#include <algorithm>
#include <cmath>

#include "experiments/subspace/checkpoints.h"
#include "experiments/subspace/factors.h"
#include "experiments/subspace/formed_weights.h"
#include "experiments/subspace/lox.h"
#include "experiments/subspace/safelora.h"

namespace subspect::experiments {

namespace {

using subspace::FormedModel;
using subspace::joined;
using subspace::SafeLoraTensor;
using subspace::WeightSource;

constexpr const char* lox_name = "lox";

/// A model as it is stored, as a row; `rest` are the key's cells after the name.
FormedModel plain(const WeightSource& source, const NamedCells& rest) {
  FormedModel model = subspace::stored_model(source);
  model.key = joined({{"model", model.name}}, rest);
  return model;
}

/// The share of the update that is left, and its cosine with the whole one.
NamedCells applied_cells(const std::vector<SafeLoraTensor>& tensors, const std::vector<bool>& projected) {
  subspace::SplitSums sums;
  int64_t count = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    sums.update += tensors[i].update;
    sums.applied += projected[i] ? tensors[i].projected : tensors[i].update;
    sums.applied_update += projected[i] ? tensors[i].product : tensors[i].update;
    count += projected[i] ? 1 : 0;
  }
  return {{"projected", count}, {"energy_kept", sums.energy_kept()}, {"cosine_task_proj", sums.cosine_task_proj()}};
}

void add_tensor_rows(Table& table, const NamedCells& key, const std::vector<SafeLoraTensor>& tensors,
                     const std::vector<bool>& projected) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    const SafeLoraTensor& each = tensors[i];
    table.append(joined(key, {{"tensor", each.tensor},
                              {"rows", each.rows},
                              {"cols", each.cols},
                              {"cosine", each.cosine()},
                              {"norm_ratio", each.update > 0 ? std::sqrt(each.projected / each.update) : std::nan("")},
                              {"projected", projected[i] ? 1 : 0}}));
  }
}

}  // namespace

void Defence::visit(Fields& f) {
  f.field("defence", defence_,
          "safelora: updates of fine-tuned models are projected on the alignment where they point away from it; lox: "
          "the aligned model is extrapolated along it, and written to model/ for a later fine-tuning",
          Rule().one_of({"safelora", lox_name}));
  f.field("base", base_, "B, the model before alignment", Rule().required());
  f.field("aligned", aligned_, "A, the instruct model", Rule().required());
  if (f.when(!extrapolates(), "defence is safelora")) {
    f.field("finetuned", finetuned_, "name -> F, the models fine-tuned from A", Rule().required().not_empty());
    subspace::check_names(f, finetuned_, {"aligned", "base"});
    f.field("thresholds", thresholds_,
            "tau: D becomes C D in the tensors where cos(D, C D) < tau, with C = V V^T / ||V||_F; a model each",
            Rule().at_least(0).at_most(1));
    f.field("counts", counts_, "instead: so many tensors, those with the lowest cosines; a model each",
            Rule().at_least(0));
    f.check(!thresholds_.empty() || !counts_.empty(), "thresholds", "there are neither thresholds nor counts",
            "give one of them");
  }
  if (f.when(extrapolates(), "defence is lox")) {
    f.field("rank", rank_, "k: singular directions of each matrix of V", Rule().at_least(1));
    f.field("alpha", alpha_, "how far: A + alpha Proj_k(V)");
    decomposition_.visit(f);
  }
  f.field("tensors", tensors_, "globs of tensors that the defence changes", Rule().not_empty());
  formed_.visit_scores(f);
  if (f.when(!extrapolates(), "defence is safelora")) formed_.visit_saving(f);
}

Named<ModelPath> Defence::models() const {
  return subspace::listed({{"aligned", aligned_}, {"base", base_}}, finetuned_);
}

std::vector<Defence::Choice> Defence::choices() const {
  std::vector<Choice> all;
  for (const double threshold : thresholds_) all.push_back({"threshold", threshold});
  for (const int64_t count : counts_) all.push_back({"count", static_cast<double>(count)});
  return all;
}

Plan Defence::plan(const PlanContext& context) const {
  Plan plan;
  plan.steps.emplace_back(extrapolates() ? "decompose V = A - B of every matrix once, write model/"
                                         : "measure the cosine of every update with its projection");
  const size_t models = extrapolates() ? 2 : 1 + finetuned_.size() * (1 + choices().size());
  subspace::plan_formed_models(context, formed_, aligned_, static_cast<int64_t>(models), plan);
  if (extrapolates()) {
    const std::string described = context.describing(aligned_);
    if (!described.empty()) plan.model_config = context.config_json(described).string();
    if (const auto config = context.decoder_config(aligned_)) {
      plan.disk_bytes += plan.parameters * runtime::element_size(config->dtype);
      plan.host_bytes += plan.parameters * runtime::element_size(config->dtype);
    }
  }
  for (const runtime::Shape& shape : subspace::planned_shapes(context, this->models(), tensors_)) {
    plan.flops += tensor_flops(shape);
  }
  return plan;
}

/// LoX decomposes; SafeLoRA projects once to measure and, at most, once for each model that is made.
double Defence::tensor_flops(const runtime::Shape& shape) const {
  if (extrapolates()) return subspace::decomposition_flops(shape, 1);
  return static_cast<double>(finetuned_.size() * (1 + choices().size())) * subspace::safelora_flops(shape);
}

void Defence::run(RunContext& context) {
  if (extrapolates()) {
    run_lox(context);
  } else {
    run_safelora(context);
  }
}

void Defence::run_safelora(RunContext& context) const {
  const std::vector<WeightSource> opened = subspace::open_checkpoints(context, models());
  const WeightSource& aligned = opened[0];
  subspace::UpdateSources sources{&opened[1], &aligned, {}};
  for (size_t i = 2; i < opened.size(); ++i) sources.finetuned.push_back(&opened[i]);
  const std::vector<std::string> tensors = select_tensors(aligned, tensors_, "tensors");
  Table rows({"model", "rule", "setting", "tensor", "rows", "cols", "cosine", "norm_ratio", "projected"});
  const NamedCells unchanged = {{"rule", "none"}, {"setting", Cell()}};
  std::vector<FormedModel> formed = {plain(aligned, unchanged)};
  for (size_t i = 0; i < finetuned_.size(); ++i) {
    const WeightSource& tuned = *sources.finetuned[i];
    const std::vector<SafeLoraTensor> measured = measure_safelora(context, sources, i, tensors);
    formed.push_back(plain(tuned, unchanged));
    formed.back().facts = applied_cells(measured, std::vector<bool>(measured.size()));
    for (const Choice& choice : choices()) {
      const std::vector<bool> projected = choice.rule == "threshold"
                                              ? below_threshold(measured, choice.value)
                                              : lowest_cosines(measured, static_cast<int64_t>(choice.value));
      FormedModel model = plain(tuned, {{"rule", choice.rule}, {"setting", choice.value}});
      add_tensor_rows(rows, model.key, measured, projected);
      model.name = fmt::format("{}-{}-{}", tuned.name(), choice.rule, choice.value);
      model.facts = applied_cells(measured, projected);
      if (formed_.save_models) model.folder = std::filesystem::path("models") / model.name;
      model.against = {{"aligned", "aligned"}, {"unprojected", tuned.name()}};
      std::vector<std::string> changed;
      for (size_t t = 0; t < tensors.size(); ++t) {
        if (projected[t]) changed.push_back(tensors[t]);
      }
      model.weights = [&context, &aligned, sources, i, changed] {
        model::NamedTensors weights = stored_weights(*sources.finetuned[i]);
        replace_tensors(
            context.stream, aligned, changed,
            [&](size_t t) { return safelora_weights(context.stream, sources, i, changed[t]); }, weights);
        return weights;
      };
      formed.push_back(std::move(model));
    }
  }
  write_whole_table(context.dir, "tensors", rows);
  subspace::FormedModels(context, formed_, aligned.directory(), {"model", "rule", "setting"},
                         {"projected", "energy_kept", "cosine_task_proj"})
      .run(formed);
}

void Defence::run_lox(RunContext& context) const {
  const std::vector<WeightSource> opened = subspace::open_checkpoints(context, models());
  const WeightSource& aligned = opened[0];
  const std::vector<std::string> tensors = select_tensors(aligned, tensors_, "tensors");
  const subspace::LoxSettings settings{.rank = rank_, .alpha = alpha_, .basis = decomposition_.options(context)};
  FormedModel lox = plain(aligned, {{"rank", rank_}, {"alpha", alpha_}});
  lox.name = lox_name;
  lox.key.front().second = lox_name;
  lox.folder = "model";
  lox.against = {{"aligned", "aligned"}};
  lox.weights = [&] {
    subspace::LoxModel made = extrapolate(context, opened[1], aligned, tensors, settings);
    Table rows({"tensor", "rows", "cols", "k", "norm", "energy_share", "method", "residual"});
    for (const subspace::LoxTensor& each : made.tensors) {
      rows.append(NamedCells{{"tensor", each.tensor},
                             {"rows", each.rows},
                             {"cols", each.cols},
                             {"k", each.rank},
                             {"norm", std::sqrt(each.alignment)},
                             {"energy_share", each.alignment > 0 ? each.projected / each.alignment : std::nan("")},
                             {"method", each.method},
                             {"residual", each.residual}});
    }
    write_whole_table(context.dir, "tensors", rows);
    return std::move(made.weights);
  };
  subspace::FormedModels(context, formed_, aligned.directory(), {"model", "rank", "alpha"}, {})
      .run({plain(aligned, {{"rank", Cell()}, {"alpha", Cell()}}), lox});
}

}  // namespace subspect::experiments
