// The activations experiment: prompts to ids, ids to states, states to rows.
#include "experiments/activations.h"

#include <algorithm>
#include <limits>
#include <memory>

#include "experiments/data/dataset.h"
#include "experiments/data/synthetic.h"
#include "experiments/deviations.h"
#include "experiments/subspace/activation_states.h"
#include "experiments/subspace/columns.h"
#include "experiments/subspace/factors.h"
#include "experiments/subspace/keyed_table.h"
#include "experiments/subspace/padded_states.h"
#include "experiments/subspace/probes.h"
#include "model/checkpoint.h"
#include "model/hub.h"
#include "model/inspect.h"
#include "model/prompts.h"
#include "runtime/error.h"

namespace subspect::experiments {

namespace {

std::vector<std::string> result_columns(bool resampled) {
  std::vector<std::string> columns = {"model",
                                      "layer",
                                      "energy",
                                      "k_a",
                                      "k_b",
                                      "d",
                                      "mso",
                                      "mso_random",
                                      "mso_control",
                                      "method",
                                      "residual",
                                      "mso_halves",
                                      "mso_random_low",
                                      "mso_random_high"};
  if (resampled) {
    columns.insert(columns.end(),
                   {"mso_low", "mso_high", "mso_control_low", "mso_control_high", "mso_halves_low", "mso_halves_high"});
  }
  return columns;
}

}  // namespace

void PromptSource::visit(Fields& f) {
  f.field("path", path, "a file, folder or glob of .jsonl, .json or .csv, each also .gz, .xz or .zst");
  f.field("synthetic", synthetic, "instead: a corpus that the program generates", Rule().one_of(synthetic_choices()));
  f.check(path.empty() != synthetic.empty(), "path", "one of path and synthetic is needed", "give exactly one of them");
  if (f.when(!synthetic.empty(), "synthetic is given")) {
    f.field("split", split, "of the corpus", Rule().one_of({"train", "held_out", "all"}));
  }
  if (f.when(synthetic.empty(), "path is given")) {
    f.field("field", field, "that holds the prompt");
    f.field("where", where, "field -> value that a row must have");
  }
  f.field("count", count, "prompts, drawn without replacement", Rule().at_least(1));
}

std::vector<std::string> PromptSource::read(uint64_t seed) const {
  if (synthetic.empty()) return read_texts(path.filesystem(), field, count, seed, where);
  std::vector<std::string> texts;
  for (Example& example : generate_synthetic({.corpus = synthetic, .count = count, .seed = seed, .split = split})) {
    texts.push_back(std::move(example.prompt));
  }
  return texts;
}

void PromptSource::check(const PlanContext& context, uint64_t seed) const {
  if (synthetic.empty() && context.require_file(path, "prompts")) static_cast<void>(read(seed));
}

void Activations::Prompts::visit(Fields& f) {
  f.field("useful", useful, "prompts of the useful task", Rule().required());
  f.field("harmful", harmful, "prompts that an aligned model refuses", Rule().required());
}

void Activations::visit(Fields& f) {
  f.field("models", models_, "name -> model", Rule().required().not_empty());
  f.field("prompts", prompts_, "the two sets of prompts", Rule().required());
  f.field("prompt_format", prompt_format_, "how a prompt is written", Rule().one_of(model::prompt_format_names(false)));
  f.field("center", center_, "subtract the mean state of each set first");
  f.field("layers", layers_,
          "all, or two fractions of the number L of hidden states: from int(first L) to int(second L), both included",
          Rule().at_least(0).at_most(1));
  f.check(layers_.all || layers_.value[0] <= layers_.value[1], "layers", "the first fraction is above the second",
          "give them in ascending order");
  f.field("energies", energies_, "shares of the squared norm that the compared subspaces hold",
          Rule().not_empty().above(0).at_most(1));
  f.field("max_length", max_length_, "tokens of a prompt; longer ones are cut and counted", Rule().at_least(1));
  f.field("batch_tokens", batch_tokens_, "tokens of a forward pass; changes no result", Rule().at_least(1).cosmetic());
  f.field("resamples", resamples_,
          "bootstrap resamples of the prompts for the columns mso_low, mso_high (95 %) and those of the control; 0: no "
          "such columns; each costs as much as the comparisons themselves, six decompositions per layer",
          Rule().at_least(0));
  f.field("probe_folds", probe_folds_, "of the cross-validation of the linear probes", Rule().at_least(2));
  decomposition_.visit(f);
  visit_deviations(f, "activations", deviations_);
  if (f.when(deviates(deviations_, "padded_last"), "deviations has padded_last")) {
    f.field("padded_batch", padded_batch_, "prompts of one padded batch, in the order drawn", Rule().at_least(1));
  }
  f.field("seed", seed_, "of the draw of prompts and of the resamples", Rule().at_least(0));
}

std::vector<int64_t> Activations::layers_of(int64_t decoder_layers) const {
  if (layers_.all) return subspace::layers_between(0.0, 1.0, decoder_layers + 1);
  return subspace::layers_between(layers_.value[0], layers_.value[1], decoder_layers + 1);
}

Plan Activations::plan(const PlanContext& context) const {
  Plan plan;
  for (const PromptSource* source : {&prompts_.useful, &prompts_.harmful}) {
    source->check(context, static_cast<uint64_t>(seed_));
  }
  const int64_t prompts = prompts_.useful.count + prompts_.harmful.count;
  plan.facts.emplace_back("prompts", std::to_string(prompts));
  for (const auto& [name, path] : models_) {
    plan.steps.push_back(
        fmt::format("run {} prompts through {}, compare their subspaces and probe them", prompts, name));
    const auto known = context.decoder_config(path);
    if (!known) continue;
    const model::DecoderConfig& config = *known;
    const int64_t parameters = model::count_parameters(config).total();
    const auto layers = static_cast<int64_t>(layers_of(config.layers).size());
    const int64_t states = 4 * layers * config.hidden_size * prompts;
    plan.parameters = std::max(plan.parameters, parameters);
    plan.device_bytes = std::max(plan.device_bytes, parameters * runtime::element_size(config.dtype) +
                                                        (config.layers + 1) * batch_tokens_ * config.hidden_size *
                                                            runtime::element_size(config.dtype));
    plan.host_bytes =
        std::max(plan.host_bytes, states + subspace::factor_workspace_bytes({config.hidden_size, prompts}, 0));
    plan.flops +=
        2.0 * static_cast<double>(parameters) * static_cast<double>(prompts) * 64.0;  // 64 tokens each, guessed
  }
  return plan;
}

struct Activations::Tables {
  subspace::KeyedTable results;
  subspace::KeyedTable probes;
};

bool Activations::finished(const Tables& tables, const std::string& model, const std::vector<int64_t>& layers) const {
  const bool probed = prompts_.useful.count >= 2 && prompts_.harmful.count >= 2;
  for (const int64_t layer : layers) {
    for (const double energy : energies_) {
      if (!tables.results.contains({{"model", model}, {"layer", layer}, {"energy", energy}})) return false;
    }
    for (const auto method : {subspace::ProbeMethod::difference_of_means, subspace::ProbeMethod::linear_probe}) {
      const NamedCells key = {{"model", model}, {"layer", layer}, {"method", name(method)}};
      if (probed && !tables.probes.contains(key)) return false;
    }
  }
  return true;
}

void Activations::run(RunContext& context) {
  Tables tables = {
      subspace::KeyedTable(context.dir.table(result_columns(resamples_ > 0)), {"model", "layer", "energy"}),
      subspace::KeyedTable(
          context.dir.table(
              {"model", "layer", "method", "accuracy", "accuracy_low", "accuracy_high", "separation", "n"}, "probes"),
          {"model", "layer", "method"})};
  runtime::linalg::BasisOptions basis = decomposition_.options(context);
  basis.energy = *std::max_element(energies_.begin(), energies_.end());
  const std::vector<std::string> useful = prompts_.useful.read(static_cast<uint64_t>(seed_));
  const std::vector<std::string> harmful = prompts_.harmful.read(static_cast<uint64_t>(seed_));
  for (const auto& [name, path] : models_) {
    const std::filesystem::path directory = model::find_model(path.string(), context.downloads);
    const std::vector<int64_t> layers = layers_of(model::read_decoder_config(directory / "config.json").layers);
    if (!finished(tables, name, layers)) {
      const auto useful_states = states(context, name, directory, layers, useful);
      const auto harmful_states = states(context, name, directory, layers, harmful);
      for (size_t i = 0; i < layers.size(); ++i) {
        if (finished(tables, name, {layers[i]})) continue;
        probe_layer(context, name, layers[i], useful_states[i], harmful_states[i], tables);
        compare_layer(context, name, layers[i], useful_states[i], harmful_states[i], basis, tables);
      }
    }
    tables.results.write();
    tables.probes.write();
  }
}

std::vector<runtime::Tensor> Activations::states(RunContext& context, const std::string& name,
                                                 const std::filesystem::path& directory,
                                                 const std::vector<int64_t>& layers,
                                                 const std::vector<std::string>& texts) const {
  model::Decoder decoder = model::load_decoder(context.stream, directory);
  const model::Tokenizer tokenizer = model::Tokenizer::load(directory);
  const std::unique_ptr<model::PromptFormat> format = model::make_prompt_format(prompt_format_);
  const int64_t length = std::min(max_length_, decoder.config().max_positions);
  const subspace::PromptIds prompts =
      subspace::encode_prompts(texts, tokenizer, *format, length, subspace::Kept::beginning);
  if (prompts.cut > 0) context.log.warn("{}: {} prompts were cut to {} tokens", name, prompts.cut, length);
  const subspace::StateRequest request{
      .prompts = prompts.ids, .layers = layers, .batch_tokens = batch_tokens_, .label = name};
  if (deviations_.empty()) return subspace::last_token_states(context, decoder, request);
  return subspace::padded_states(context, decoder, request,
                                 {.last_position = deviates(deviations_, "padded_last"),
                                  .mask_pad_id = deviates(deviations_, "masked_eos"),
                                  .batch = padded_batch_,
                                  .pad_id = model::end_id(tokenizer, *model::make_prompt_format("raw"))});
}

void Activations::compare_layer(RunContext& context, const std::string& name, int64_t layer,
                                const runtime::Tensor& useful, const runtime::Tensor& harmful,
                                const runtime::linalg::BasisOptions& basis, Tables& tables) const {
  context.stop_if_interrupted();
  const std::string label = fmt::format("hidden state {} of {}", layer, name);
  const subspace::ActivationOverlap overlap =
      subspace::compare_activations(context.stream, useful, harmful, energies_, center_, basis, label);
  const auto intervals = [&](const runtime::Tensor& a, const runtime::Tensor& b,
                             const std::vector<subspace::EnergyOverlap>& rows, const char* what) {
    if (resamples_ == 0 || rows.empty()) return std::vector<statistics::Interval>(energies_.size());
    return subspace::resampled_overlaps(context, a, b, rows,
                                        {.resamples = resamples_,
                                         .seed = static_cast<uint64_t>(seed_),
                                         .center = center_,
                                         .basis = basis,
                                         .label = label + what});
  };
  const auto half = [](const runtime::Tensor& states, int64_t begin) {
    return subspace::every_column(states, begin, 2);
  };
  const auto pair = intervals(useful, harmful, overlap.pair, "");
  const auto control = intervals(half(useful, 0), half(useful, 1), overlap.control, ", control");
  const auto halves = intervals(half(useful, 0), half(harmful, 1), overlap.halves, ", halves");
  for (size_t i = 0; i < overlap.pair.size(); ++i) {
    const subspace::EnergyOverlap& row = overlap.pair[i];
    NamedCells cells = {{"model", name},
                        {"layer", layer},
                        {"energy", row.energy},
                        {"k_a", row.k_a},
                        {"k_b", row.k_b},
                        {"d", row.d},
                        {"mso", row.mso},
                        {"mso_random", row.mso_random},
                        {"mso_control", overlap.control.empty() ? Cell() : Cell(overlap.control[i].mso)},
                        {"method", overlap.method},
                        {"residual", overlap.residual},
                        {"mso_halves", overlap.halves.empty() ? Cell() : Cell(overlap.halves[i].mso)},
                        {"mso_random_low", row.random_interval.low},
                        {"mso_random_high", row.random_interval.high}};
    if (resamples_ > 0) {
      cells = subspace::joined(std::move(cells), {{"mso_low", pair[i].low},
                                                  {"mso_high", pair[i].high},
                                                  {"mso_control_low", control[i].low},
                                                  {"mso_control_high", control[i].high},
                                                  {"mso_halves_low", halves[i].low},
                                                  {"mso_halves_high", halves[i].high}});
    }
    tables.results.append(cells);
  }
}

void Activations::probe_layer(RunContext& context, const std::string& name, int64_t layer,
                              const runtime::Tensor& useful, const runtime::Tensor& harmful, Tables& tables) const {
  for (const subspace::ProbeResult& probe :
       subspace::probe_states(context.stream, useful, harmful,
                              {.folds = probe_folds_,
                              .seed = static_cast<uint64_t>(seed_),
                              .label = fmt::format("hidden state {} of {}", layer, name)})) {
    tables.probes.append({{"model", name},
                          {"layer", layer},
                          {"method", subspace::name(probe.method)},
                          {"accuracy", probe.accuracy},
                          {"accuracy_low", probe.accuracy_interval.low},
                          {"accuracy_high", probe.accuracy_interval.high},
                          {"separation", probe.separation},
                          {"n", probe.n}});
  }
}

}  // namespace subspect::experiments
