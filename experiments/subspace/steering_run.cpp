// Prompts to directions, directions to interventions, interventions to rows.
#include "experiments/subspace/steering_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "model/checkpoint.h"
#include "model/hub.h"
#include "model/prompts.h"
#include "model/tokenizer/tokenizer.h"
#include "runtime/error.h"
#include "runtime/io/safetensors.h"

namespace subspect::experiments::subspace {

namespace {

using model::Intervention;
using runtime::Tensor;

constexpr const char* means_name = "difference_of_means";
constexpr const char* random_name = "random";

template <class T>
Cell cell(const std::optional<T>& value) {
  return value ? Cell(*value) : Cell();
}

std::vector<std::string> result_columns(const ModelScorer& scorer) {
  std::vector<std::string> columns = {"layer", "direction", "intervention", "coefficient", "draw"};
  for (const std::string metric : {"refusal_harmful", "refusal_harmless"}) {
    columns.insert(columns.end(), {metric, metric + "_low", metric + "_high"});
  }
  const std::vector<std::string> more = scorer.columns();
  columns.insert(columns.end(), more.begin(), more.end());
  return columns;
}

double mean_of(const std::vector<FirstToken>& tokens, double FirstToken::*value) {
  double sum = 0.0;
  for (const FirstToken& token : tokens) sum += token.*value;
  return sum / static_cast<double>(tokens.size());
}

/// The mean over draws of what each prompt gave.
Outcomes mean_outcomes(const std::vector<Outcomes>& draws) {
  Outcomes mean = draws.front();
  const auto count = static_cast<double>(draws.size());
  for (size_t i = 0; i < mean.values.size(); ++i) {
    double sum = 0.0;
    for (const Outcomes& draw : draws) sum += draw.values[i];
    mean.values[i] = sum / count;
  }
  mean.step /= count;
  return mean;
}

}  // namespace

NamedCells SteeringRow::key() const {
  return {{"layer", cell(layer)},
          {"direction", direction},
          {"intervention", intervention},
          {"coefficient", cell(coefficient)},
          {"draw", cell(draw)}};
}

std::string SteeringRow::control_label() const {
  if (direction == "none") return "unsteered";
  std::string label = layer ? fmt::format("layer-{}-{}", *layer, intervention) : intervention;
  if (coefficient) label += fmt::format("-{}", *coefficient);
  return direction == random_name ? label + "-random" : label;
}

std::string SteeringRow::label() const {
  return draw ? fmt::format("{}-{}", control_label(), *draw) : control_label();
}

std::vector<SteeringRow> steering_rows(const SteeringConfig& config, const std::vector<int64_t>& layers) {
  std::vector<SteeringRow> rows = {{}};
  const auto add = [&](std::optional<int64_t> layer, std::optional<double> coefficient, std::optional<int64_t> draw) {
    rows.push_back({.layer = layer,
                    .direction = draw ? random_name : means_name,
                    .intervention = coefficient ? "add" : "ablate",
                    .coefficient = coefficient,
                    .draw = draw});
  };
  for (const int64_t layer : layers) {
    if (config.ablate) add(layer, {}, {});
    for (const double coefficient : config.add) add(layer, coefficient, {});
  }
  for (int64_t draw = 0; draw < config.random_draws; ++draw) {
    if (config.ablate) add({}, {}, draw);
    for (const int64_t layer : layers) {
      for (const double coefficient : config.add) add(layer, coefficient, draw);
    }
  }
  return rows;
}

SteeringRun::SteeringRun(RunContext& context, const SteeringConfig& config)
    : context_(context),
      config_(config),
      directory_(model::find_model(config.model.string(), context.downloads)),
      decoder_(model::load_decoder(context.stream, directory_)),
      tokenizer_(model::Tokenizer::load(directory_)),
      scorer_(context, config.evaluate, directory_, config.intervals) {}

void SteeringRun::run() {
  harmful_ = encode(config_.prompts.harmful, "harmful");
  harmless_ = encode(config_.prompts.harmless, "harmless");
  const std::vector<Direction> directions = take_directions();
  save_directions(directions);
  refusal_tokens_ = find_refusal_tokens();
  const std::vector<SteeringRow> rows = steering_rows(config_, choose_layers(directions));
  KeyedTable results(context_.dir.table(result_columns(scorer_)),
                     {"layer", "direction", "intervention", "coefficient", "draw"});
  for (const SteeringRow& row : rows) {
    if (results.contains(row.key())) continue;
    const std::optional<Intervention> applied = intervention(row, directions);
    results.append(joined(row.key(), measure(row, applied ? &*applied : nullptr)));
    results.write_now_and_then();
  }
  results.write();
  compare(rows);
}

SteeringRun::PromptSet SteeringRun::encode(const PromptSource& source, const std::string& what) {
  const std::vector<std::string> texts = source.read(static_cast<uint64_t>(config_.seed));
  const auto format = model::make_prompt_format(config_.prompt_format,
                                                {.system = {}, .custom_template = config_.prompt_template, .date = {}});
  const int64_t most = std::min(config_.max_length, decoder_.config().max_positions);
  PromptIds prompts = encode_prompts(texts, tokenizer_, *format, most, Kept::end);
  if (prompts.cut > 0) {
    context_.log.warn("{} {} prompts lost their beginning to fit {} tokens", prompts.cut, what, most);
  }
  const auto training = prompts.ids.begin() + static_cast<int64_t>(texts.size()) -
                        config_.held_out_of(static_cast<int64_t>(texts.size()));
  return {{prompts.ids.begin(), training}, {training, prompts.ids.end()}};
}

BatchRequest SteeringRun::request(const std::vector<std::vector<int32_t>>& prompts, const std::string& label) const {
  return {.prompts = prompts, .batch_tokens = config_.batch_tokens, .label = label};
}

std::vector<Direction> SteeringRun::take_directions() {
  const std::vector<int64_t> layers = config_.candidates(decoder_.config().layers);
  const auto states = [&](const PromptSet& prompts, const char* label) {
    return last_token_states(
        context_, decoder_,
        {.prompts = prompts.training, .layers = layers, .batch_tokens = config_.batch_tokens, .label = label});
  };
  const std::vector<Tensor> harmful = states(harmful_, "harmful prompts");
  const std::vector<Tensor> harmless = states(harmless_, "harmless prompts");
  std::vector<Direction> directions;
  for (size_t i = 0; i < layers.size(); ++i) {
    directions.push_back(difference_of_means(harmful[i], harmless[i], layers[i]));
  }
  return directions;
}

void SteeringRun::save_directions(const std::vector<Direction>& directions) const {
  std::vector<runtime::io::TensorSpec> specs;
  for (const Direction& direction : directions) {
    specs.push_back({fmt::format("layer.{}", direction.layer),
                     runtime::DType::float32,
                     {static_cast<int64_t>(direction.difference.size())}});
  }
  const auto host = runtime::Stream::open({}, 1);
  runtime::io::write_safetensors(context_.dir.path() / "directions.safetensors", specs, [&](size_t i) {
    return Tensor::from_host<float>(*host, directions[i].difference, specs[i].shape);
  });
}

std::vector<int32_t> SteeringRun::find_refusal_tokens() {
  std::vector<int32_t> tokens =
      refusal_tokens(mean_first_tokens(context_, decoder_, request(harmful_.training, "answers to harmful prompts")),
                     mean_first_tokens(context_, decoder_, request(harmless_.training, "answers to harmless prompts")));
  context_.dir.note("refusal_tokens", nlohmann::json(tokens).dump());
  if (tokens.empty() && config_.layers.all) {
    throw runtime::Error("the model begins its answers to harmful and to harmless prompts alike", "layers: all",
                         "name the layers: without refusals none can be chosen");
  }
  if (tokens.empty()) {
    context_.log.warn(
        "the model begins its answers to harmful and to harmless prompts alike: there are no refusals to count");
  }
  for (const int32_t token : tokens) {
    context_.log.info("refusals begin with token {} \"{}\"", token, tokenizer_.decode(std::vector<int32_t>{token}));
  }
  return tokens;
}

std::vector<DirectionEffect> SteeringRun::measure_effects(const std::vector<Direction>& directions) {
  std::vector<Intervention> ablations, additions;
  for (const Direction& direction : directions) {
    ablations.push_back(Intervention::ablate(context_.stream, direction.difference, decoder_.dtype()));
    additions.push_back(Intervention::add(context_.stream, direction.difference, direction.layer, decoder_.dtype()));
  }
  std::vector<const Intervention*> removed, both;
  for (const Intervention& each : ablations) removed.push_back(&each);
  both = removed;
  for (const Intervention& each : additions) both.push_back(&each);
  const auto harmful = measure_first_tokens(
      context_, decoder_, {request(harmful_.held_out, "directions on harmful prompts"), refusal_tokens_, removed});
  const auto harmless = measure_first_tokens(
      context_, decoder_, {request(harmless_.held_out, "directions on harmless prompts"), refusal_tokens_, both});
  std::vector<DirectionEffect> effects;
  for (size_t i = 0; i < directions.size(); ++i) {
    effects.push_back({.layer = directions[i].layer,
                       .bypass = mean_of(harmful[i], &FirstToken::log_odds),
                       .induce = mean_of(harmless[directions.size() + i], &FirstToken::log_odds),
                       .divergence = mean_of(harmless[i], &FirstToken::divergence)});
  }
  return effects;
}

std::vector<int64_t> SteeringRun::choose_layers(const std::vector<Direction>& directions) {
  const std::vector<DirectionEffect> effects = measure_effects(directions);
  const int64_t decoder_layers = decoder_.config().layers;
  const size_t best = best_direction(effects, decoder_layers);
  if (config_.layers.all && !is_eligible(effects[best], decoder_layers)) {
    context_.log.warn(
        "no direction makes the model refuse harmless prompts and leaves its answers to them alone when removed; layer "
        "{} is taken, whose removal makes refusals least likely",
        effects[best].layer);
  }
  KeyedTable table(
      context_.dir.table({"layer", "length", "bypass", "induce", "divergence", "eligible", "chosen"}, "directions"),
      {"layer"});
  std::vector<int64_t> chosen;
  for (size_t i = 0; i < effects.size(); ++i) {
    const bool is_chosen = !config_.layers.all || i == best;
    if (is_chosen) chosen.push_back(effects[i].layer);
    table.append({{"layer", effects[i].layer},
                  {"length", directions[i].length},
                  {"bypass", effects[i].bypass},
                  {"induce", effects[i].induce},
                  {"divergence", effects[i].divergence},
                  {"eligible", is_eligible(effects[i], decoder_layers)},
                  {"chosen", is_chosen}});
  }
  table.write();
  return chosen;
}

std::optional<Intervention> SteeringRun::intervention(const SteeringRow& row,
                                                      const std::vector<Direction>& directions) {
  if (row.direction == "none") return std::nullopt;
  const auto taken = std::find_if(directions.begin(), directions.end(),
                                  [&](const Direction& each) { return row.layer && each.layer == *row.layer; });
  std::vector<float> vector = row.draw
                                  ? random_direction(decoder_.config().hidden_size, row.layer ? taken->length : 1.0,
                                                     static_cast<uint64_t>(config_.seed), *row.draw)
                                  : taken->difference;
  if (row.intervention == "ablate") return Intervention::ablate(context_.stream, vector, decoder_.dtype());
  for (float& x : vector) x = static_cast<float>(static_cast<double>(x) * *row.coefficient);
  return Intervention::add(context_.stream, vector, *row.layer, decoder_.dtype());
}

Score SteeringRun::refusal(const std::string& metric, const std::vector<std::vector<int32_t>>& prompts,
                           const std::string& label, const Intervention* intervention) {
  const std::vector<const Intervention*> one = {intervention};
  const std::vector<FirstToken> tokens =
      measure_first_tokens(context_, decoder_, {request(prompts, label), refusal_tokens_, one})[0];
  Score score{.task = "first_token",
              .metric = metric,
              .value = mean_of(tokens, &FirstToken::refusal),
              .standard_error = std::numeric_limits<double>::quiet_NaN(),
              .n = static_cast<int64_t>(tokens.size()),
              .column = metric,
              .outcomes = {.values = {}, .weights = {}, .step = 0}};
  for (const FirstToken& token : tokens) score.outcomes.values.push_back(token.refusal);
  return score;
}

NamedCells SteeringRun::measure(const SteeringRow& row, const Intervention* intervention) {
  NamedCells cells;
  const std::string name = row.label();
  if (!refusal_tokens_.empty()) {
    cells = scorer_.record(name, {refusal("refusal_harmful", harmful_.held_out, name, intervention),
                                  refusal("refusal_harmless", harmless_.held_out, name, intervention)});
  }
  if (config_.evaluate.empty()) return cells;
  return joined(std::move(cells), scorer_.score({.name = name,
                                                 .decoder = decoder_,
                                                 .tokenizer = tokenizer_,
                                                 .directory = directory_,
                                                 .intervention = intervention}));
}

// Every intervention against the unsteered model, and every direction against the mean of its random controls.
void SteeringRun::compare(const std::vector<SteeringRow>& rows) {
  const OutcomeTable& outcomes = scorer_.outcomes();
  std::vector<Contrast> contrasts;
  for (const std::string& metric : outcomes.metrics()) {
    const auto contrast = [&](const char* family, const SteeringRow& row, const std::string& against,
                              const Outcomes& other) {
      contrasts.push_back({.family = family,
                           .metric = metric,
                           .model = row.label(),
                           .against = against,
                           .result = scorer_.intervals().compare(*outcomes.find(row.label(), metric), other)});
    };
    for (const SteeringRow& row : rows) {
      if (row.direction == "none") continue;
      contrast(row.draw ? "random" : "steered", row, rows.front().label(),
               *outcomes.find(rows.front().label(), metric));
      if (row.draw) continue;
      SteeringRow control = row;
      control.direction = random_name;
      if (row.intervention == "ablate") control.layer.reset();
      std::vector<Outcomes> draws;
      for (control.draw = 0; *control.draw < config_.random_draws; ++*control.draw) {
        draws.push_back(*outcomes.find(control.label(), metric));
      }
      if (!draws.empty()) contrast("against_random", row, control.control_label(), mean_outcomes(draws));
    }
  }
  write_comparisons(context_.dir, contrasts);
}

}  // namespace subspect::experiments::subspace
