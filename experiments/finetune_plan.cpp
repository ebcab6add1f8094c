// What a fine-tuning would do and cost, without training: from the configuration, the data and a sample of its tokens.
#include <algorithm>
#include <filesystem>
#include <limits>

#include "experiments/finetune.h"
#include "experiments/training/packing.h"
#include "experiments/training/sequences.h"
#include "model/inspect.h"
#include "model/prompts.h"
#include "model/training_memory.h"
#include "runtime/error.h"

namespace subspect::experiments {

namespace {

constexpr size_t sampled_examples = 256;

// The config.json of the model, as far as it is known now; empty when a stage has yet to make it.
std::string config_json(const TrainedModelConfig& model, const PlanContext& context) {
  if (!model.config.empty()) context.require_file(model.config, "model.config");
  const std::string description = context.describing(model.config.empty() ? Path(model.path) : Path(model.config));
  return description.empty() ? description : context.config_json(description).string();
}

struct DataPlan {
  std::vector<SourceReport> reports;
  int64_t examples = 0;
  double tokens_per_example = 0;  // 0: not known
  int64_t longest = 0;
  bool at_most = false;  // assumed: as many examples as the limits allow, as long as they may be
};

// The examples of files that are not there yet, as far as the configuration limits them.
DataPlan assumed_data(const FinetuneConfig& config) {
  DataPlan plan;
  for (const DataSource& source : config.data) {
    plan.examples += source.synthetic.empty() ? source.limit : source.count;
    if (source.synthetic.empty() && source.limit == 0) return {};
  }
  plan.tokens_per_example = static_cast<double>(config.max_seq_length);
  plan.longest = config.max_seq_length;
  plan.at_most = true;
  return plan;
}

DataPlan plan_data(const FinetuneConfig& config, const PlanContext& context, const model::DecoderConfig& decoder) {
  const Dataset dataset = read_mixture(config.data, config.mixture_options());
  DataPlan plan{.reports = dataset.reports, .examples = static_cast<int64_t>(dataset.examples.size())};
  const auto directory =
      context.tokenizer_directory(config.model.config.empty() ? Path(config.model.path) : Path(config.model.tokenizer));
  if (directory.empty()) return plan;
  const auto format = model::make_prompt_format(config.prompt_format,
                                                {.system = {}, .custom_template = config.prompt_template, .date = {}});
  std::vector<Example> sample;
  const size_t stride = std::max<size_t>(1, dataset.examples.size() / sampled_examples);
  for (size_t i = 0; i < dataset.examples.size(); i += stride) sample.push_back(dataset.examples[i]);
  const TrainingData data =
      make_sequences(model::Tokenizer::load(directory), *format, sample, sequence_options(config, decoder, 0));
  for (const TrainingSequence& sequence : data.sequences) {
    plan.longest = std::max(plan.longest, static_cast<int64_t>(sequence.ids.size()));
  }
  plan.tokens_per_example = static_cast<double>(data.counts.tokens) / static_cast<double>(sample.size());
  return plan;
}

// True when every file of the data exists already.
bool data_exists(const FinetuneConfig& config, const PlanContext& context) {
  bool exists = true;
  for (const DataSource& source : config.data) {
    if (!source.path.empty() && !context.require_file(source.path, "data.path")) exists = false;
  }
  return exists;
}

// True when a file is missing that no stage will make.
bool data_is_assumed(const FinetuneConfig& config, const PlanContext& context) {
  return std::any_of(config.data.begin(), config.data.end(), [&](const DataSource& source) {
    return !source.path.empty() && source.path.stage().empty() && !context.require_file(source.path, "data.path");
  });
}

void add_memory(Plan& plan, const FinetuneConfig& config, const PlanContext& context,
                const model::DecoderConfig& decoder) {
  const int64_t driver = context.device.type == runtime::DeviceType::cuda ? model::gpu_driver_bytes : 0;
  const int64_t usable =
      context.device_memory > 0 ? context.device_memory - driver : std::numeric_limits<int64_t>::max();
  const model::TrainingMemory memory =
      config.plan_memory(decoder, {.device = context.device, .ranks = context.ranks, .memory_bytes = usable});
  for (size_t use = 0; use < model::memory_uses; ++use) {
    plan.device_uses.emplace_back(model::name(static_cast<model::MemoryUse>(use)), memory.bytes[use]);
  }
  plan.device_uses.emplace_back("rounding, kept for reuse", memory.reserved - memory.peak());
  plan.device_uses.emplace_back("driver (an estimate)", driver);
  plan.device_bytes = memory.reserved + driver;
  plan.host_bytes = memory.pinned;
  plan.recomputed = static_cast<double>(memory.recompute.blocks) / static_cast<double>(decoder.layers);
  plan.facts.emplace_back("recomputed", model::describe(memory.recompute, decoder.layers));
  const runtime::DType saved = config.precision.save_dtype(decoder.dtype);
  const int64_t offloaded = config.optimizer.offload ? memory.pinned : 0;
  plan.disk_bytes = plan.parameters * runtime::element_size(saved) + memory.of(model::MemoryUse::weights) +
                    memory.of(model::MemoryUse::master_weights) + memory.of(model::MemoryUse::moments) + offloaded;
}

void add_training(Plan& plan, const FinetuneConfig& config, const DataPlan& data, const model::DecoderConfig& decoder) {
  const int64_t steps_per_epoch = (data.examples + config.global_batch - 1) / config.global_batch;
  const int64_t steps = config.total_steps(steps_per_epoch);
  for (const SourceReport& report : data.reports) plan.facts.emplace_back("data", report.text());
  plan.facts.emplace_back("examples", fmt::format("{}", data.examples));
  plan.facts.emplace_back("optimizer steps", fmt::format("{} ({} per epoch)", steps, steps_per_epoch));
  if (data.tokens_per_example == 0) return;
  const double epochs = static_cast<double>(steps) / static_cast<double>(std::max<int64_t>(steps_per_epoch, 1));
  const double tokens = data.tokens_per_example * static_cast<double>(data.examples) * epochs;
  plan.facts.emplace_back("training tokens", (data.at_most ? "at most " : "about ") + runtime::format_count(tokens));
  const auto length = static_cast<int64_t>(data.tokens_per_example);
  plan.flops = tokens * model::training_flops_per_token(decoder, length) * (1 + plan.recomputed / 3);
  if (data.longest > config.micro_batch_tokens) {
    plan.warnings.push_back(
        fmt::format("some sequences ({} tokens) exceed micro_batch_tokens {}: each of them is a "
                    "micro-batch of its own",
                    data.longest, config.micro_batch_tokens));
  }
}

}  // namespace

Plan Finetune::plan(const PlanContext& context) const {
  model::make_prompt_format(config.prompt_format,
                            {.system = {}, .custom_template = config.prompt_template, .date = {}});  // finds mistakes
  Plan plan;
  const bool has_data = data_exists(config, context);
  plan.model_config = config_json(config.model, context);
  plan.steps = {"tokenize the data", "train", "write model/"};
  if (plan.model_config.empty()) return plan;
  const model::DecoderConfig decoder = model::read_decoder_config(plan.model_config);
  plan.parameters = model::count_parameters(decoder).total();
  if (decoder.max_positions > 0 && config.max_seq_length > decoder.max_positions) {
    plan.warnings.push_back(fmt::format("max_seq_length {} exceeds the {} positions that the model was made for",
                                        config.max_seq_length, decoder.max_positions));
  }
  add_memory(plan, config, context, decoder);
  if (has_data) add_training(plan, config, plan_data(config, context, decoder), decoder);
  const DataPlan assumed = data_is_assumed(config, context) ? assumed_data(config) : DataPlan{};
  if (assumed.examples > 0) add_training(plan, config, assumed, decoder);
  return plan;
}

}  // namespace subspect::experiments
