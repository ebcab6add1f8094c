// The projection experiment: its configuration, its plan, and the loop's ends (evaluating, saving).
#include "experiments/projection.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "experiments/deviations.h"
#include "experiments/subspace/model_scorer.h"
#include "experiments/subspace/projection_run.h"
#include "experiments/subspace/projection_statistics.h"
#include "model/hub.h"
#include "runtime/error.h"

namespace subspect::experiments {

namespace {

using subspace::Basis;
using subspace::Mode;
using subspace::WeightSource;

/// The models as they are opened: B, A and every F.
struct Checkpoints {
  std::vector<WeightSource> all;

  subspace::UpdateSources sources() const {
    subspace::UpdateSources sources{&all[0], &all[1], {}};
    for (size_t i = 2; i < all.size(); ++i) sources.finetuned.push_back(&all[i]);
    return sources;
  }
};

int64_t elements(const runtime::Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

/// Products of one decomposition and of the coefficients of `finetuned` updates.
double decomposition_flops(const runtime::Shape& shape, size_t finetuned) {
  if (shape.size() < 2) return 0.0;
  const auto m = static_cast<double>(shape[0]);
  const auto n = static_cast<double>(elements(shape)) / m;
  const double side = std::min(m, n);
  return 2.0 * m * n * side * (1.0 + static_cast<double>(finetuned)) + 9.0 * side * side * side;
}

}  // namespace

void Projection::visit(Fields& f) {
  f.field("base", base_, "B, the model before alignment", Rule().required());
  f.field("aligned", aligned_, "A, the instruct model", Rule().required());
  f.field("finetuned", finetuned_, "name -> F, the models fine-tuned from A", Rule().required().not_empty());
  f.field(
      "bases", bases_,
      "top_k: leading left singular vectors of V = A - B; random_k: as many of them, drawn at random; random: random "
      "orthonormal vectors",
      Rule().not_empty().one_of({"top_k", "random_k", "random"}));
  f.field("modes", modes_, "same: A + P; orth: A + D - P; opp: A - P, with P the part of D = F - A in the subspace",
          Rule().not_empty().one_of({"same", "orth", "opp"}));
  f.field("fractions", fractions_,
          "of the directions of each matrix; outside (0, 1), and for vectors always: the single direction vec(V)",
          Rule().not_empty());
  f.field("draws", draws_, "of random_k and random", Rule().at_least(1));
  f.field("tensors", tensors_, "globs of tensors that are projected; the others stay as fine-tuned",
          Rule().not_empty());
  f.field("evaluate", evaluate_, "tasks that every model is evaluated on; none: energies alone");
  if (f.when(!evaluate_.empty(), "evaluate is not empty")) {
    f.field("intervals", intervals_, "of the scores, and of their differences between models");
  }
  f.field("save_models", save_models_, "write every projected model to models/");
  f.field(
      "rounding", rounding_,
      "checkpoint: A + Q in float32, stored in the checkpoint's dtype; float16: Q to float16 first, as the reference",
      Rule().one_of({"checkpoint", "float16"}));
  decomposition_.visit(f);
  const bool draws_from_all = std::count(bases_.begin(), bases_.end(), "random_k") > 0;
  f.check(decomposition_.method != "randomized" || !draws_from_all, "method",
          "random_k draws from all singular vectors", "use method auto or gram, or leave random_k out");
  visit_deviations(f, "projection", deviations_);
  f.field("seed", seed_, "of the random bases", Rule().at_least(0));
  std::set<std::string> names = {"base", "aligned"};
  for (const auto& model : finetuned_) {
    f.check(names.insert(model.first).second && !model.first.empty(), "finetuned",
            fmt::format("the name '{}' is taken", model.first), "give every fine-tuned model a name of its own");
  }
}

subspace::ProjectionSettings Projection::settings() const {
  subspace::ProjectionSettings settings;
  settings.bases.clear();
  settings.modes.clear();
  for (const Basis basis : {Basis::top_k, Basis::random_k, Basis::random}) {
    if (std::count(bases_.begin(), bases_.end(), name(basis)) > 0) settings.bases.push_back(basis);
  }
  for (const Mode mode : {Mode::same, Mode::orth, Mode::opp}) {
    if (std::count(modes_.begin(), modes_.end(), name(mode)) > 0) settings.modes.push_back(mode);
  }
  settings.fractions = fractions_;
  settings.draws = draws_;
  settings.tensors = tensors_;
  settings.rounding = rounding_ == "float16" ? subspace::Rounding::float16 : subspace::Rounding::checkpoint;
  settings.readings = {.align_cosine = deviates(deviations_, "align_cosine"),
                       .layer_names = deviates(deviations_, "layer_names"),
                       .tied_twice = deviates(deviations_, "tied_twice")};
  settings.seed = static_cast<uint64_t>(seed_);
  return settings;
}

Plan Projection::plan(const PlanContext& context) const {
  check_tasks(context, evaluate_);
  Plan plan;
  int64_t random_draws = 0;
  int64_t choices = 0;
  for (const std::string& basis : bases_) {
    choices += basis == "top_k" ? 1 : draws_;
    if (basis == "random") random_draws = draws_;
  }
  const auto cells = static_cast<int64_t>(fractions_.size() * modes_.size() * finetuned_.size()) * choices;
  plan.facts.emplace_back("projected models", std::to_string(cells));
  for (const double fraction : fractions_) {
    if (!subspace::splits_by_rank(fraction)) {
      plan.warnings.push_back(
          fmt::format("fraction {} is outside (0, 1): it means the single direction vec(V)", fraction));
    }
  }
  plan.steps = {"decompose V = A - B of every matrix once", fmt::format("draw {} random bases", random_draws),
                evaluate_.empty()
                    ? "write energies and cosines"
                    : fmt::format("evaluate {} models", cells + 2 + static_cast<int64_t>(finetuned_.size()))};

  std::vector<std::pair<std::string, ModelPath>> models = {{"base", base_}, {"aligned", aligned_}};
  models.insert(models.end(), finetuned_.begin(), finetuned_.end());
  Checkpoints opened;
  for (const auto& model : models) {
    const std::string described = context.describing(model.second);
    if (described.empty() || described.ends_with(".json")) return plan;  // made by a stage that is yet to run
    opened.all.push_back(WeightSource::open(model.first, model::find_model(described)));
    if (opened.all.size() > 1) require_same_tensors(opened.all[0], opened.all.back());
  }
  int64_t factors = 0;
  int64_t workspace = 0;
  const auto finetuned = static_cast<int64_t>(finetuned_.size());
  for (const std::string& tensor : subspace::select_tensors(opened.all[1], tensors_, "tensors")) {
    const runtime::Shape shape = opened.all[1].info(tensor).shape;
    plan.parameters += elements(shape);
    plan.flops += decomposition_flops(shape, finetuned_.size()) * static_cast<double>(1 + random_draws);
    factors += subspace::factor_bytes(shape, finetuned);
    workspace = std::max(workspace, subspace::factor_workspace_bytes(shape, finetuned));
  }
  const bool forms_models = !evaluate_.empty() || save_models_;
  plan.host_bytes = workspace + (forms_models ? factors + 8 * plan.parameters : 0);
  if (save_models_) plan.disk_bytes = cells * 4 * plan.parameters;
  return plan;
}

void Projection::run(RunContext& context) {
  Checkpoints opened;
  opened.all.push_back(WeightSource::open("base", model::find_model(base_.string())));
  opened.all.push_back(WeightSource::open("aligned", model::find_model(aligned_.string())));
  for (const auto& model : finetuned_) {
    opened.all.push_back(WeightSource::open(model.first, model::find_model(model.second.string())));
  }
  std::vector<std::string> columns = subspace::projection_columns();
  std::unique_ptr<subspace::ModelScorer> scorer;
  if (!evaluate_.empty()) {
    scorer = std::make_unique<subspace::ModelScorer>(context, evaluate_, opened.all[1].directory(), intervals_);
    for (const std::string& column : scorer->columns()) {
      if (std::find(columns.begin(), columns.end(), column) == columns.end()) columns.push_back(column);
    }
  }
  const auto consume = [&](const subspace::ProjectionCell& cell, const WeightSource& origin,
                           const model::NamedTensors& weights) {
    if (save_models_ && cell.fraction) {
      model::SaveOptions save;
      save.source = origin.directory();
      save.overwrite = true;
      model::save_checkpoint(context.stream, model::read_decoder_config(origin.directory() / "config.json"), weights,
                             context.dir.file(std::filesystem::path("models") / cell.label()), save);
    }
    return scorer ? scorer->score(cell.label(), origin.directory(), weights) : NamedCells{};
  };
  subspace::ModelConsumer consumer;
  if (scorer || save_models_) consumer = consume;
  subspace::ProjectionSettings settings = this->settings();
  settings.basis = decomposition_.options(context);
  subspace::ProjectionRun(context, std::move(settings), opened.sources(), columns, std::move(consumer)).run();
  if (scorer) subspace::write_projection_statistics(context.dir, scorer->outcomes(), scorer->intervals());
}

}  // namespace subspect::experiments
