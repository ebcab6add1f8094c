// The loop over formed models, and what their experiments share.
#include "experiments/subspace/formed_models.h"

#include <algorithm>
#include <set>

#include "experiments/subspace/formed_weights.h"
#include "model/inspect.h"

namespace subspect::experiments::subspace {

namespace {

std::vector<std::string> result_columns(std::vector<std::string> keys, const std::vector<std::string>& facts,
                                        const ModelSink& sink) {
  keys.insert(keys.end(), facts.begin(), facts.end());
  const std::vector<std::string> scores = sink.columns();
  keys.insert(keys.end(), scores.begin(), scores.end());
  return keys;
}

}  // namespace

void FormedModelFields::visit_scores(Fields& f) {
  f.field("evaluate", evaluate, "tasks that every model is evaluated on; none: no scores");
  if (f.when(!evaluate.empty(), "evaluate is not empty")) {
    f.field("intervals", intervals, "of the scores, and of their differences between models");
  }
}

void FormedModelFields::visit_saving(Fields& f) {
  f.field("save_models", save_models, "write every model that is formed to models/");
}

void plan_formed_models(const PlanContext& context, const FormedModelFields& fields, const ModelPath& like,
                        int64_t models, Plan& plan) {
  check_tasks(context, fields.evaluate);
  plan.facts.emplace_back("models", std::to_string(models));
  if (fields.needs_weights()) {
    plan.steps.push_back(fmt::format("form{}{} {} models", fields.evaluate.empty() ? "" : " and evaluate",
                                     fields.save_models ? " and save" : "", models));
  }
  const auto config = context.decoder_config(like);
  if (!config) return;
  plan.parameters = model::count_parameters(*config).total();
  const int64_t stored = plan.parameters * runtime::element_size(config->dtype);
  const int64_t largest = config->hidden_size * std::max(config->vocab_size, config->intermediate_size);
  // The formed weights, and for every thread a tensor, an update and their sum in float32.
  if (fields.needs_weights()) plan.host_bytes = stored + 12 * largest * std::max(1, context.threads);
  if (fields.save_models) plan.disk_bytes = models * stored;
  if (fields.evaluate.empty()) return;
  plan.flops += static_cast<double>(models) * evaluation_flops(context, fields.evaluate, *config);
  plan.device_bytes = evaluation_bytes(context, *config);
}

void check_names(Fields& f, const Named<ModelPath>& finetuned, const std::vector<std::string>& taken) {
  std::set<std::string> names(taken.begin(), taken.end());
  for (const auto& model : finetuned) {
    f.check(names.insert(model.first).second && !model.first.empty(), "finetuned",
            fmt::format("the name '{}' is taken", model.first), "give every fine-tuned model a name of its own");
  }
}

FormedModel stored_model(const WeightSource& source) {
  FormedModel model;
  model.name = source.name();
  model.origin = &source;
  model.weights = [&source] { return stored_weights(source); };
  if (model.name != "aligned") model.against = {{"aligned", "aligned"}};
  return model;
}

ModelSink::ModelSink(RunContext& context, const FormedModelFields& fields, const std::filesystem::path& tokenizers)
    : context_(context) {
  if (!fields.evaluate.empty()) {
    scorer_ = std::make_unique<ModelScorer>(context, fields.evaluate, tokenizers, fields.intervals);
  }
}

std::vector<std::string> ModelSink::columns() const {
  return scorer_ ? scorer_->columns() : std::vector<std::string>{};
}

NamedCells ModelSink::take(const std::string& name, const WeightSource& origin, const model::NamedTensors& weights,
                           const std::filesystem::path& folder) {
  if (!folder.empty()) {
    model::SaveOptions save;
    save.source = origin.directory();
    save.overwrite = true;
    model::save_checkpoint(context_.stream, model::read_decoder_config(origin.directory() / "config.json"), weights,
                           context_.dir.file(folder), save);
  }
  return scorer_ ? scorer_->score(name, origin.directory(), weights) : NamedCells{};
}

FormedModels::FormedModels(RunContext& context, const FormedModelFields& fields,
                           const std::filesystem::path& tokenizers, const std::vector<std::string>& keys,
                           const std::vector<std::string>& facts)
    : context_(context),
      sink_(context, fields, tokenizers),
      results_(context.dir.table(result_columns(keys, facts, sink_)), keys) {}

void FormedModels::run(const std::vector<FormedModel>& models) {
  auto progress = context_.progress.begin("models", static_cast<int64_t>(models.size()), "models",
                                          static_cast<int64_t>(results_.table().size()));
  for (const FormedModel& each : models) {
    if (results_.contains(each.key)) continue;
    NamedCells scores;
    if (sink_.scorer() != nullptr || !each.folder.empty()) {
      scores = sink_.take(each.name, *each.origin, each.weights(), each.folder);
    }
    results_.append(joined(joined(each.key, each.facts), scores));
    results_.write_now_and_then();
    progress.advance();
    context_.stop_if_interrupted();
  }
  results_.write();
  if (sink_.scorer() != nullptr) write_comparisons(models);
}

void FormedModels::write_comparisons(const std::vector<FormedModel>& models) {
  const OutcomeTable& outcomes = sink_.scorer()->outcomes();
  std::vector<Contrast> contrasts;
  for (const std::string& metric : outcomes.metrics()) {
    for (const FormedModel& each : models) {
      const auto mine = outcomes.find(each.name, metric);
      for (const auto& [family, name] : each.against) {
        const auto other = outcomes.find(name, metric);
        if (!mine || !other) continue;
        contrasts.push_back({.family = family,
                             .metric = metric,
                             .model = each.name,
                             .against = name,
                             .result = sink_.scorer()->intervals().compare(*mine, *other)});
      }
    }
  }
  experiments::write_comparisons(context_.dir, contrasts);
}

}  // namespace subspect::experiments::subspace
