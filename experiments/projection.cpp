// The projection experiment: its configuration, its plan, and the loop's ends (evaluating, saving).
#include "experiments/projection.h"

#include <algorithm>

#include "experiments/deviations.h"
#include "experiments/subspace/checkpoints.h"
#include "experiments/subspace/projection_run.h"
#include "experiments/subspace/projection_statistics.h"

namespace subspect::experiments {

namespace {

using subspace::Basis;
using subspace::Mode;
using subspace::Sides;
using subspace::WeightSource;

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
  f.field("sides", sides_,
          "of the update that the basis stands on: left (of rows, P = U U^T D), right (of columns, P = D W W^T, with "
          "right singular vectors), both (P = U U^T D W W^T)",
          Rule().not_empty().one_of({"left", "right", "both"}));
  f.field("fractions", fractions_,
          "of the directions of each matrix; outside (0, 1), and for vectors always: the single direction vec(V)",
          Rule().not_empty());
  f.field("draws", draws_, "of random_k and random", Rule().at_least(1));
  f.field("tensors", tensors_, "globs of tensors that are projected; the others stay as fine-tuned",
          Rule().not_empty());
  formed_.visit(f);
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
  subspace::check_names(f, finetuned_, {"base", "aligned"});
}

Named<ModelPath> Projection::models() const {
  return subspace::listed({{"base", base_}, {"aligned", aligned_}}, finetuned_);
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
  settings.sides.clear();
  for (const Sides sides : {Sides::left, Sides::right, Sides::both}) {
    if (std::count(sides_.begin(), sides_.end(), name(sides)) > 0) settings.sides.push_back(sides);
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
  check_tasks(context, formed_.evaluate);
  Plan plan;
  int64_t random_draws = 0;
  int64_t choices = 0;
  for (const std::string& basis : bases_) {
    choices += basis == "top_k" ? 1 : draws_;
    if (basis == "random") random_draws = draws_;
  }
  const auto cells =
      static_cast<int64_t>(fractions_.size() * modes_.size() * sides_.size() * finetuned_.size()) * choices;
  plan.facts.emplace_back("projected models", std::to_string(cells));
  for (const double fraction : fractions_) {
    if (!subspace::splits_by_rank(fraction)) {
      plan.warnings.push_back(
          fmt::format("fraction {} is outside (0, 1): it means the single direction vec(V)", fraction));
    }
  }
  plan.steps = {"decompose V = A - B of every matrix once", fmt::format("draw {} random bases", random_draws),
                formed_.evaluate.empty()
                    ? "write energies and cosines"
                    : fmt::format("evaluate {} models", cells + 2 + static_cast<int64_t>(finetuned_.size()))};

  const auto known = context.decoder_config(aligned_);
  if (known) {
    const auto evaluated = static_cast<double>(cells + 2 + static_cast<int64_t>(finetuned_.size()));
    plan.flops += evaluated * evaluation_flops(context, formed_.evaluate, *known);
  }
  add_costs(plan, subspace::planned_shapes(context, models(), tensors_), random_draws, cells);
  return plan;
}

void Projection::add_costs(Plan& plan, const std::vector<runtime::Shape>& shapes, int64_t random_draws,
                           int64_t cells) const {
  const auto finetuned = static_cast<int64_t>(finetuned_.size());
  int64_t factors = 0;
  int64_t workspace = 0;
  for (const runtime::Shape& shape : shapes) {
    plan.parameters += subspace::elements(shape);
    int64_t largest = 0;
    for (const Sides sides : settings().sides) {
      const double decompositions = static_cast<double>(1 + random_draws) * (sides == Sides::both ? 2.0 : 1.0);
      plan.flops += subspace::decomposition_flops(shape, finetuned) * decompositions;
      largest = std::max(largest, subspace::factor_bytes(shape, finetuned, sides));
      workspace = std::max(workspace, subspace::factor_workspace_bytes(shape, finetuned, sides));
    }
    factors += largest;
  }
  plan.host_bytes = workspace + (formed_.needs_weights() ? factors + 8 * plan.parameters : 0);
  if (formed_.save_models) plan.disk_bytes = cells * 4 * plan.parameters;
}

void Projection::run(RunContext& context) {
  const std::vector<WeightSource> opened = subspace::open_checkpoints(context, models());
  subspace::UpdateSources sources{&opened[0], &opened[1], {}};
  for (size_t i = 2; i < opened.size(); ++i) sources.finetuned.push_back(&opened[i]);
  subspace::ModelSink sink(context, formed_, opened[1].directory());
  const auto consume = [&](const subspace::ProjectionCell& cell, const WeightSource& origin,
                           const model::NamedTensors& weights) {
    const bool saved = formed_.save_models && cell.fraction;
    const std::filesystem::path folder = saved ? std::filesystem::path("models") / cell.label() : "";
    return sink.take(cell.label(), origin, weights, folder);
  };
  subspace::ModelConsumer consumer;
  if (formed_.needs_weights()) consumer = consume;
  subspace::ProjectionSettings settings = this->settings();
  settings.basis = decomposition_.options(context);
  subspace::ProjectionRun(context, std::move(settings), sources, subspace::projection_columns(sink.columns()),
                          std::move(consumer))
      .run();
  if (subspace::ModelScorer* scorer = sink.scorer()) {
    subspace::write_projection_statistics(context.dir, scorer->outcomes(), scorer->intervals());
  }
}

}  // namespace subspect::experiments
