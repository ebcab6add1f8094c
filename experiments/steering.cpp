// The steering experiment: its configuration and its plan.
#include "experiments/steering.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "experiments/subspace/steering_run.h"
#include "model/inspect.h"
#include "model/prompts.h"
#include "runtime/error.h"

namespace subspect::experiments {

void SteeringConfig::Prompts::visit(Fields& f) {
  f.field("harmful", harmful, "prompts that the model refuses", Rule().required());
  f.field("harmless", harmless, "prompts that it answers", Rule().required());
}

void SteeringConfig::visit(Fields& f) {
  f.field("model", model, "the model that is steered", Rule().required());
  f.field("prompts", prompts, "the two sets whose mean states differ by the direction", Rule().required());
  f.field("prompt_format", prompt_format, "how a prompt is written; states are those of its last token",
          Rule().one_of(model::prompt_format_names(true)));
  if (f.when(prompt_format == "custom", "prompt_format is custom")) {
    f.field("prompt_template", prompt_template, "with {instruction} and {response}", Rule().required());
  }
  f.field("max_length", max_length, "tokens of a prompt; longer ones lose their beginning and are counted",
          Rule().at_least(1));
  f.field("batch_tokens", batch_tokens, "tokens of a forward pass; changes no result", Rule().at_least(1).cosmetic());
  f.field("held_out", held_out,
          "share of each set that does not enter the direction: on it a layer is chosen and refusals are counted",
          Rule().above(0).below(1));
  f.field("layers", layers,
          "hidden states to take a direction at: numbers (l is what block l reads; 0 is the embedding), or all: those "
          "from 1 on, of which the best on the held-out prompts is used",
          Rule().at_least(0));
  f.check(layers.all || !layers.value.empty(), "layers", "there is no layer", "name one, or write all");
  f.check(std::set(layers.value.begin(), layers.value.end()).size() == layers.value.size(), "layers",
          "a layer is listed twice", "list it once");
  f.field("ablate", ablate, "remove the direction from all that is written to the residual stream");
  f.field("add", add,
          "coefficients: add so many times the difference of the means to the hidden state it was taken at (1 moves "
          "harmless prompts as far as harmful ones, -1 the other way round)");
  f.check(std::set(add.begin(), add.end()).size() == add.size(), "add", "a coefficient is listed twice",
          "list it once");
  f.check(ablate || !add.empty(), "add", "no intervention is left", "set ablate: true, or give coefficients");
  f.field("random_draws", random_draws, "random directions of the same length that everything is repeated with",
          Rule().at_least(0));
  f.field("evaluate", evaluate, "tasks that the model is evaluated on, unsteered and in every row");
  f.field("intervals", intervals, "of the scores, and of their differences");
  f.field("seed", seed, "of the draw of prompts and of the random directions", Rule().at_least(0));
}

std::vector<int64_t> SteeringConfig::candidates(int64_t decoder_layers) const {
  std::vector<int64_t> result = layers.value;
  if (layers.all) {
    result.clear();
    for (int64_t layer = 1; layer < decoder_layers; ++layer) result.push_back(layer);
  }
  for (const int64_t layer : result) {
    if (layer < decoder_layers) continue;
    throw runtime::UsageError(
        fmt::format("the model's blocks read hidden states 0 to {}, not {}", decoder_layers - 1, layer), "layers",
        "name layers that there are, or write all");
  }
  if (result.empty()) {
    throw runtime::UsageError("a model of one block has no hidden state from 1 on that a block reads", "layers",
                              "write layers: [0]");
  }
  return result;
}

int64_t SteeringConfig::held_out_of(int64_t count) const {
  if (count < 2) {
    throw runtime::UsageError("two prompts of each set are needed: one for the direction, one held out", "prompts",
                              "set count to 2 or more");
  }
  return std::clamp<int64_t>(std::llround(held_out * static_cast<double>(count)), 1, count - 1);
}

Plan Steering::plan(const PlanContext& context) const {
  check_tasks(context, config_.evaluate);
  Plan plan;
  for (const PromptSource* source : {&config_.prompts.harmful, &config_.prompts.harmless}) {
    source->check(context, static_cast<uint64_t>(config_.seed));
    static_cast<void>(config_.held_out_of(source->count));
  }
  const int64_t prompts = config_.prompts.harmful.count + config_.prompts.harmless.count;
  plan.facts.emplace_back("prompts", std::to_string(prompts));
  const size_t layers = config_.layers.all ? 1 : config_.layers.value.size();
  const size_t rows = subspace::steering_rows(config_, std::vector<int64_t>(layers)).size();
  if (const auto known = context.decoder_config(config_.model)) {
    const size_t candidates = config_.candidates(known->layers).size();
    plan.steps.push_back(fmt::format("take {} directions from {} prompts{}", candidates, prompts,
                                     config_.layers.all ? " and choose the best" : ""));
    plan.parameters = model::count_parameters(*known).total();
    plan.device_bytes = evaluation_bytes(context, *known);
    plan.flops = 2.0 * static_cast<double>(plan.parameters) * static_cast<double>(prompts) * 64.0 *
                 static_cast<double>(2 + candidates);  // 64 tokens each, guessed
    plan.flops += static_cast<double>(rows) * evaluation_flops(context, config_.evaluate, *known);
  }
  plan.facts.emplace_back("steered models", std::to_string(rows - 1));
  for (const TaskConfig& task : config_.evaluate) {
    plan.steps.push_back(fmt::format("evaluate {} on the unsteered model and {} interventions", task.name, rows - 1));
  }
  return plan;
}

void Steering::run(RunContext& context) {
  subspace::SteeringRun(context, config_).run();
}

}  // namespace subspect::experiments
