// The fine-tuning experiment: its configuration and its run. What it would cost is in finetune_plan.cpp.
#include "experiments/finetune.h"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <optional>

#include "experiments/deviations.h"
#include "experiments/training/packing.h"
#include "experiments/training/sequences.h"
#include "experiments/training/train_state.h"
#include "experiments/training/trainer.h"
#include "model/checkpoint.h"
#include "model/inspect.h"
#include "model/prompts.h"
#include "runtime/error.h"
#include "runtime/hardware.h"
#include "runtime/io/files.h"
#include "runtime/memory.h"

namespace subspect::experiments {

namespace optim = runtime::optim;
using runtime::DType;
using runtime::Stream;

void TrainedModelConfig::visit(Fields& f) {
  f.field("config", config, "a config.json: its architecture is trained from random weights", Rule().required());
  f.field("tokenizer", tokenizer, "the directory whose tokenizer goes with it", Rule().required());
  f.field("init", init, "how weights begin: normal with the config's initializer_range, from the seed",
          Rule().one_of({"random"}));
}

model::ModelSource TrainedModelConfig::source() const {
  return {.name = config.empty() ? path.string() : std::string(),
          .config = config.filesystem(),
          .tokenizer = tokenizer.filesystem()};
}

void OptimizerConfig::visit(Fields& f) {
  f.field("name", name, "the update rule", Rule().one_of({"adamw", "sgd"}));
  f.field("lr", lr, "peak learning rate", Rule().above(0));
  if (f.when(name == "adamw", "name is adamw")) {
    f.field("betas", betas, "decay of the moments", Rule().at_least(0).below(1));
    f.field("eps", eps, "added to the root of the second moment", Rule().above(0));
  }
  if (f.when(name == "sgd", "name is sgd")) {
    f.field("momentum", momentum, "share of the last update that is kept", Rule().at_least(0).below(1));
  }
  f.field("weight_decay", weight_decay, "decoupled; matrices only, not norms and biases", Rule().at_least(0));
  f.field("state", state, "of the moments; int8: blocks of 256 8-bit codes with a scale (tensors of 4096 or more)",
          Rule().one_of({"float32", "int8"}));
  f.field("offload", offload,
          "keep moments and float32 weights in pinned memory of the host, and on the GPU only while they are updated: "
          "same numbers, slower; with a GPU only",
          Rule().cosmetic());
}

void ScheduleConfig::visit(Fields& f) {
  using optim::ScheduleKind;
  f.choice("name", kind,
           {{"cosine", ScheduleKind::cosine}, {"linear", ScheduleKind::linear}, {"constant", ScheduleKind::constant}},
           "how the learning rate falls from its peak, as in Transformers");
  f.field("warmup_ratio", warmup_ratio, "share of the steps over which it rises from 0", Rule().at_least(0).at_most(1));
  f.field("final_ratio", final_ratio, "share of the peak that it falls to", Rule().at_least(0).at_most(1));
}

optim::Schedule ScheduleConfig::schedule() const {
  return {.kind = kind, .warmup_ratio = warmup_ratio, .final_ratio = final_ratio};
}

void PrecisionConfig::visit(Fields& f) {
  f.field("compute", compute, "of weights and activations; auto: float32 on a CPU, bfloat16 on a GPU",
          Rule().one_of({"auto", "float32", "bfloat16"}));
  f.field("master", master, "of the weights that the optimizer updates", Rule().one_of({"float32", "bfloat16"}));
  if (f.when(master == "bfloat16", "master is bfloat16")) {
    f.field("stochastic_rounding", stochastic_rounding,
            "round updated weights up or down at random, right in the mean; false: to the nearest, where small "
            "updates are lost");
  }
  f.field("save", save, "of the model that is written; auto: as the model that was read",
          Rule().one_of({"auto", "float32", "bfloat16", "float16"}));
}

DType PrecisionConfig::compute_dtype(runtime::Device device) const {
  if (compute == "auto") return device.type == runtime::DeviceType::cpu ? DType::float32 : DType::bfloat16;
  return runtime::parse_dtype(compute);
}

bool PrecisionConfig::master_weights(runtime::Device device) const {
  return compute_dtype(device) == DType::bfloat16 && master == "float32";
}

DType PrecisionConfig::save_dtype(DType checkpoint) const {
  return save == "auto" ? checkpoint : runtime::parse_dtype(save);
}

void DistributedConfig::visit(Fields& f) {
  f.field("shares", shares,
          "into which the sequences of a step are dealt; gradients are summed share by share, so runs with the same "
          "shares agree bit by bit on every number of ranks that has equally many, a power of two; 0: one per rank",
          Rule().at_least(0).at_most(4096));
  f.field("time_limit", time_limit, "seconds that a rank waits for another before all end with an error; 0: for ever",
          Rule().at_least(0).cosmetic());
}

int DistributedConfig::shares_of(int ranks) const {
  if (shares == 0) return ranks;
  const bool fits = shares % ranks == 0 && std::has_single_bit(static_cast<uint64_t>(shares / ranks));
  if (fits) return static_cast<int>(shares);
  throw runtime::UsageError(fmt::format("{} shares cannot be dealt to {} ranks", shares, ranks), "distributed.shares",
                            "give each rank equally many, a power of two, or set it to 0");
}

void FinetuneConfig::visit(Fields& f) {
  f.field("model", model, "the model that is trained: a directory, a hub id, or random weights", Rule().required());
  f.field("data", data, "what it is trained on, mixed", Rule().required().not_empty());
  f.choice("duplicates", duplicates,
           {{"keep", Duplicates::keep}, {"exact", Duplicates::exact}, {"normalized", Duplicates::normalized}},
           "examples that the mixture has already: kept, or left out when equal (normalized: but for case and white "
           "space)");
  f.field("prompt_format", prompt_format, "how prompts are written (`subspect list prompt-formats`)");
  if (f.when(prompt_format == "custom", "prompt_format is custom")) {
    f.field("prompt_template", prompt_template, "with {instruction} and {response}", Rule().required());
  }
  visit_deviations(f, "finetune", deviations);
  f.field("max_seq_length", max_seq_length, "tokens of one sequence; a longer response is shortened, its EOS kept",
          Rule().at_least(2));
  f.field("shuffle", shuffle, "see the examples in a new order, from the seed, in every epoch");
  f.field("packing", packing, "share micro-batches among sequences; the same gradients, faster");
  f.field("epochs", epochs, "passes over the data", Rule().above(0));
  f.field("max_steps", max_steps, "optimizer steps; 0: by epochs", Rule().at_least(0));
  f.field("global_batch", global_batch, "sequences of one optimizer step", Rule().at_least(1));
  f.field("micro_batch_tokens", micro_batch_tokens, "most tokens in one forward and backward pass", Rule().at_least(1));
  f.choice("recompute", recompute,
           {{"auto", RecomputeMode::automatic},
            {"none", RecomputeMode::none},
            {"op", RecomputeMode::op},
            {"block", RecomputeMode::block}},
           "what the backward pass makes again instead of keeping it: norms and gated activations (op), or all of a "
           "block but its input; same gradients; auto: the least that fits the device's memory",
           Rule().cosmetic());
  f.field("optimizer", optimizer, "the update");
  f.field("schedule", schedule, "the learning rate over the run");
  f.field("max_grad_norm", max_grad_norm, "gradients are scaled down to this norm; 0: never", Rule().at_least(0));
  f.field("precision", precision, "number formats");
  f.field("distributed", distributed, "how several ranks share the work");
  f.field("seed", seed, "of the order of examples and of random weights", Rule().at_least(0));
  f.field("checkpoint_every", checkpoint_every, "steps between two checkpoints for resuming; 0: only when interrupted",
          Rule().at_least(0).cosmetic());
}

int64_t FinetuneConfig::total_steps(int64_t steps_per_epoch) const {
  if (max_steps > 0) return max_steps;
  return static_cast<int64_t>(std::ceil(epochs * static_cast<double>(steps_per_epoch)));
}

model::TrainingMemory FinetuneConfig::plan_memory(const model::DecoderConfig& decoder,
                                                  const MemoryBudget& budget) const {
  if (optimizer.offload && budget.device.type == runtime::DeviceType::cpu) {
    throw runtime::UsageError("an optimizer's state can be offloaded from a GPU only: here it is in the host's memory",
                              "optimizer.offload", "leave it out, or use --device cuda");
  }
  const int64_t most_tokens =
      packing ? std::min(std::max(micro_batch_tokens, max_seq_length), global_batch * max_seq_length) : max_seq_length;
  model::TrainingShape shape{.compute = precision.compute_dtype(budget.device),
                             .master_weights = precision.master_weights(budget.device),
                             .optimizer_moments = optimizer.moments(),
                             .int8_moments = optimizer.state == "int8",
                             .offload = optimizer.offload,
                             .micro_batch_tokens = most_tokens,
                             .ranks = budget.ranks,
                             .device = budget.device.type};
  if (recompute == RecomputeMode::automatic) return model::plan_training_within(decoder, shape, budget.memory_bytes);
  shape.recompute.ops = recompute == RecomputeMode::op;
  shape.recompute.blocks = recompute == RecomputeMode::block ? model::Recompute::all_blocks : 0;
  return model::plan_training(decoder, shape);
}

MixtureOptions FinetuneConfig::mixture_options() const {
  return {.seed = static_cast<uint64_t>(seed), .duplicates = duplicates};
}

SequenceOptions sequence_options(const FinetuneConfig& config, const model::DecoderConfig& decoder, int threads) {
  SequenceOptions options{.max_seq_length = config.max_seq_length,
                          .vocab_size = decoder.vocab_size,
                          .prompt_length = deviates(config.deviations, "prompt_length"),
                          .threads = threads};
  if (!decoder.eos_ids.empty()) options.eos_id = static_cast<int32_t>(decoder.eos_ids.front());
  return options;
}

namespace {

std::unique_ptr<optim::Optimizer> make_optimizer(Stream& stream, model::Decoder& decoder, const FinetuneConfig& c,
                                                 const optim::Sharding& sharding) {
  const std::vector<runtime::Parameter*> parameters = decoder.parameters();
  const OptimizerConfig& o = c.optimizer;
  const optim::StateFormat format{.master_weights = c.precision.master_weights(stream.device()),
                                  .stochastic_rounding = c.precision.stochastic_rounding,
                                  .seed = static_cast<uint64_t>(c.seed),
                                  .int8_moments = o.state == "int8",
                                  .offload = o.offload};
  if (o.name == "sgd") {
    return optim::make_sgd(stream, parameters, {.lr = o.lr, .momentum = o.momentum, .weight_decay = o.weight_decay},
                           format, sharding);
  }
  return optim::make_adamw(
      stream, parameters,
      {.lr = o.lr, .beta1 = o.betas[0], .beta2 = o.betas[1], .eps = o.eps, .weight_decay = o.weight_decay}, format,
      sharding);
}

// One run, from its sequences to the written model.
class TrainingRun {
 public:
  TrainingRun(const FinetuneConfig& config, RunContext& context)
      : config_(config),
        context_(context),
        sharding_{context.ranks, config.distributed.shares_of(context.ranks == nullptr ? 1 : context.ranks->size())},
        source_(resolved_source()),
        data_(read_data()),
        order_(static_cast<int64_t>(data_.sequences.size()), config.global_batch, config.shuffle,
               static_cast<uint64_t>(config.seed)),
        total_steps_(config.total_steps(order_.steps_per_epoch())),
        memory_(plan_memory()),
        decoder_(model::open_model(context.stream, source_, config.precision.compute_dtype(context.stream.device()),
                                   static_cast<uint64_t>(config.seed), context.downloads)),
        peak_flops_(runtime::hardware_of(context.stream.device()).bfloat16_flops) {
    share_weights();
    decoder_.allocate_grads(context.stream);
    trainer_.emplace(context.stream, decoder_, make_optimizer(context.stream, decoder_, config, sharding_),
                     TrainerOptions{.schedule = config.schedule.schedule(),
                                    .total_steps = total_steps_,
                                    .micro_batch_tokens = config.micro_batch_tokens,
                                    .packing = config.packing,
                                    .recompute = memory_.recompute,
                                    .max_grad_norm = config.max_grad_norm});
    position_.data = data_.fingerprint();
    require_same_on_all_ranks(position_.data, "the data");
  }

  void run() {
    resume();
    const TimeLimit limit(context_.ranks, config_.distributed.time_limit);
    context_.stream.allocator()->reset_peak();
    auto progress = context_.progress.begin("training", total_steps_, "steps", position_.step);
    while (position_.step < total_steps_) {
      const StepResult result = step();
      progress.note(fmt::format("loss {:.4f}", result.loss));
      progress.advance();
      const bool due = config_.checkpoint_every > 0 && position_.step % config_.checkpoint_every == 0;
      const bool stop = context_.interrupted();
      if (stop || (due && position_.step < total_steps_)) save_state();
      if (stop) context_.stop();
    }
    write_model();
    if (context_.leads()) remove_train_state(context_.dir.state());
  }

 private:
  model::TrainingMemory plan_memory() {
    const model::DecoderConfig decoder = model::source_config(source_);
    const runtime::Device device = context_.stream.device();
    const int64_t available = runtime::available_memory(context_.stream);
    model::TrainingMemory memory = config_.plan_memory(
        decoder,
        {.device = device, .ranks = context_.ranks == nullptr ? 1 : context_.ranks->size(), .memory_bytes = available});
    constexpr double gigabyte = 1e9;
    context_.log.info("memory: {:.3f} GB planned, recomputed: {}", static_cast<double>(memory.reserved) / gigabyte,
                      model::describe(memory.recompute, decoder.layers));
    if (memory.reserved > available) {
      context_.log.warn(
          "only {:.3f} GB are free on {}: use a smaller micro_batch_tokens, optimizer: {{state: int8}}, or "
          "precision: {{master: bfloat16, stochastic_rounding: true}}",
          static_cast<double>(available) / gigabyte, device.to_string());
    }
    return memory;
  }

  // While it lasts, a rank that does not answer is an error.
  class TimeLimit {
   public:
    TimeLimit(runtime::comm::Communicator* ranks, double seconds) : ranks_(ranks) {
      if (ranks_ == nullptr) return;
      ranks_->barrier();  // reading the data and the model may take one rank longer than another
      ranks_->set_time_limit(seconds);
    }
    ~TimeLimit() {
      if (ranks_ != nullptr) ranks_->set_time_limit(0);
    }
    TimeLimit(const TimeLimit&) = delete;
    TimeLimit& operator=(const TimeLimit&) = delete;

   private:
    runtime::comm::Communicator* ranks_;
  };

  // Rank 0 downloads a model that is not there yet.
  model::ModelSource resolved_source() {
    model::ModelSource source = config_.model.source();
    if (context_.ranks == nullptr) return source;
    if (context_.leads()) {
      static_cast<void>(model::source_config(source, context_.downloads));
      static_cast<void>(model::source_tokenizer_directory(source, context_.downloads));
    }
    context_.ranks->barrier();
    return source;
  }

  void share_weights() {
    if (context_.ranks == nullptr) return;
    std::vector<runtime::Tensor> values;
    for (const runtime::Parameter* parameter : decoder_.parameters()) values.push_back(parameter->value);
    context_.ranks->broadcast(context_.stream, values);
  }

  void require_same_on_all_ranks(uint64_t value, std::string_view what) {
    if (context_.ranks == nullptr) return;
    const std::array<double, 2> halves = {static_cast<double>(value >> 32U), static_cast<double>(value & 0xffffffffU)};
    const std::vector<double> all = context_.ranks->gather(halves);
    for (size_t i = 2; i < all.size(); i += 2) {
      if (all[i] == all[0] && all[i + 1] == all[1]) continue;
      throw runtime::Error(fmt::format("rank {} sees other contents of {} than rank 0", i / 2, what),
                           context_.dir.path().string(), "run on a file system that all ranks share");
    }
  }

  TrainingData read_data() {
    const Dataset dataset = read_mixture(config_.data, config_.mixture_options());
    for (const SourceReport& report : dataset.reports) context_.log.info("{}", report.text());
    const auto tokenizer = model::Tokenizer::load(model::source_tokenizer_directory(source_, context_.downloads));
    const auto format = model::make_prompt_format(
        config_.prompt_format, {.system = {}, .custom_template = config_.prompt_template, .date = {}});
    TrainingData data =
        make_sequences(tokenizer, *format, dataset.examples,
                       sequence_options(config_, model::source_config(source_), context_.stream.threads()));
    if (context_.leads()) {
      runtime::io::write_file_atomically(context_.dir.path() / "data.csv",
                                         data_table(dataset, data.lengths, config_.max_seq_length).to_csv());
    }
    report_counts(data.counts, config_.max_seq_length, context_.log);
    if (data.sequences.empty()) {
      throw runtime::Error("no example is left to train on", "data", "raise max_seq_length");
    }
    context_.dir.note("sequences", fmt::format("{{\"trained\": {}, \"tokens\": {}, \"learned\": {}, \"truncated\": {}, "
                                               "\"prompts_too_long\": {}}}",
                                               data.counts.sequences, data.counts.tokens, data.counts.predicted,
                                               data.counts.truncated, data.counts.prompts_too_long));
    return data;
  }

  void resume() {
    const auto restored =
        load_train_state(context_.stream, context_.dir.state(), decoder_, trainer_->optimizer(), position_.data);
    require_same_on_all_ranks(restored ? static_cast<uint64_t>(restored->step) : 0, "the last checkpoint");
    if (restored) {
      position_ = *restored;
      context_.log.info("going on after step {} of {}", position_.step, total_steps_);
    }
    context_.metrics.resume_after(position_.step);
  }

  StepResult step() {
    const auto begin = std::chrono::steady_clock::now();
    std::vector<const TrainingSequence*> sequences;
    for (const int64_t index : order_.batch(position_.step)) {
      sequences.push_back(&data_.sequences[static_cast<size_t>(index)]);
    }
    const StepResult result = trainer_->step(sequences);
    context_.stream.synchronize();  // the weights are updated
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    ++position_.step;
    position_.tokens += result.tokens;
    position_.seconds += seconds;
    const double epoch = static_cast<double>(position_.step) / static_cast<double>(order_.steps_per_epoch());
    const auto peak = static_cast<double>(context_.stream.allocator()->stats().peak_bytes);
    runtime::io::MetricValues row = {{"epoch", epoch},
                                     {"loss", result.loss},
                                     {"lr", result.lr},
                                     {"grad_norm", result.grad_norm},
                                     {"tokens", static_cast<double>(position_.tokens)},
                                     {"tokens_per_second", static_cast<double>(result.tokens) / seconds},
                                     {"seconds", position_.seconds},
                                     {"peak_bytes", peak}};
    if (peak_flops_ > 0) {
      row.emplace_back("mfu", model_flops(sequences) / seconds / (peak_flops_ * sharding_.rank_count()));
    }
    context_.metrics.write(position_.step, row);
    return result;
  }

  double model_flops(const std::vector<const TrainingSequence*>& sequences) const {
    double flops = 0;
    for (const TrainingSequence* sequence : sequences) {
      const auto length = static_cast<int64_t>(sequence->ids.size());
      flops += static_cast<double>(length) * model::training_flops_per_token(decoder_.config(), length);
    }
    return flops;
  }

  void save_state() {
    save_train_state(context_.stream, context_.dir.state(), decoder_, trainer_->optimizer(), position_);
  }

  // The weights to be written in `dtype`, whole on the rank that writes. All ranks call it.
  runtime::Tensor weights_of(const runtime::Parameter& parameter, DType dtype) {
    const bool rounded_anyway = sharding_.rank_count() > 1 && parameter.value.dtype() == dtype;
    const optim::StateTensor weights = trainer_->optimizer().weights(parameter);
    if (rounded_anyway || weights.begins.empty()) return parameter.value;
    return sharding_.rank_count() == 1 ? weights.part : optim::gather_whole(context_.stream, weights, sharding_);
  }

  void write_model() {
    const DType dtype = config_.precision.save_dtype(decoder_.config().dtype);
    model::NamedTensors tensors;
    for (const runtime::Parameter* parameter : decoder_.parameters()) {
      const runtime::Tensor weights = weights_of(*parameter, dtype);
      if (!context_.leads()) continue;
      for (const runtime::Parameter::Part& part : parameter->parts) {
        tensors[part.name] = weights.narrow(0, part.row_begin, part.row_end - part.row_begin);
      }
    }
    if (!context_.leads()) return;
    model::SaveOptions options;
    options.source = model::source_tokenizer_directory(source_);
    options.dtype = dtype;
    options.overwrite = true;
    model::save_checkpoint(context_.stream, decoder_.config(), tensors, context_.dir.file("model"), options);
  }

  const FinetuneConfig& config_;
  RunContext& context_;
  optim::Sharding sharding_;
  model::ModelSource source_;
  TrainingData data_;
  ExampleOrder order_;
  int64_t total_steps_;
  model::TrainingMemory memory_;
  model::Decoder decoder_;
  std::optional<Trainer> trainer_;
  TrainPosition position_;
  double peak_flops_;  // of the GPU; 0: not known
};

}  // namespace

void Finetune::run(RunContext& context) {
  TrainingRun(config, context).run();
}

}  // namespace subspect::experiments
