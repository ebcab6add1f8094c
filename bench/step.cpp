// Optimizer steps of a model with random weights: tokens per second, the part of the peaks that the flops of
// `step_flops_per_token` reach ("speed of light"), and the allocator's peak beside what plan_training foretells. The
// loss of the first step is checked.
#include <fmt/format.h>

#include <cmath>
#include <optional>

#include "bench/shapes.h"
#include "experiments/training/trainer.h"
#include "model/training_memory.h"
#include "runtime/error.h"
#include "runtime/memory.h"
#include "runtime/random.h"

namespace subspect::bench {
namespace {

using experiments::TrainingSequence;
using runtime::DType;

constexpr std::string_view usage =
    "bench_step: optimizer steps of models with random weights.\n\n"
    "  --models=LIST      of bench/shapes; on a GPU 0.5b,1.5b,3b,7b, on the CPU tiny\n"
    "  --dtypes=LIST      float32, bfloat16 (with float32 master weights); on a GPU bfloat16 unless given\n"
    "  --tokens=N         of a step, which is one micro-batch\n"
    "  --length=N         of each sequence; 1024 unless given\n";

/// How memory is saved: the least that fits is measured.
struct Saving {
  model::TrainingMemory memory;
  int64_t layers = 0;
  bool int8_moments = false;

  std::string text() const {
    const auto [ops, blocks] = memory.recompute;
    std::string recomputed = ops ? "op" : "none";
    if (blocks > 0) recomputed = blocks == layers ? "block" : fmt::format("op+{}", blocks);
    return fmt::format("recompute={} moments={}", recomputed, int8_moments ? "int8" : "float32");
  }
};

struct Work {
  model::DecoderConfig config;
  DType dtype = DType::float32;
  int64_t tokens = 0;
  int64_t length = 0;

  bool masters() const { return dtype == DType::bfloat16; }
};

std::optional<Saving> least_saving(const Session& session, const Work& work) {
  const int64_t available = runtime::available_memory(session.stream());
  for (const bool int8_moments : {false, true}) {
    const Saving saving{model::plan_training_within(work.config,
                                                    {.compute = work.dtype,
                                                     .master_weights = work.masters(),
                                                     .int8_moments = int8_moments,
                                                     .micro_batch_tokens = work.tokens,
                                                     .device = session.stream().device().type},
                                                    available),
                        work.config.layers, int8_moments};
    if (saving.memory.reserved <= available) return saving;
  }
  return std::nullopt;
}

std::vector<TrainingSequence> random_sequences(const Work& work) {
  runtime::Random random(1);
  std::vector<TrainingSequence> sequences;
  for (int64_t i = 0; i < work.tokens / work.length; ++i) {
    TrainingSequence& sequence = sequences.emplace_back();
    for (int64_t t = 0; t < work.length; ++t) {
      sequence.ids.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(work.config.vocab_size))));
    }
    sequence.targets = model::shift_labels(sequence.ids);
    sequence.predicted = work.length - 1;
  }
  return sequences;
}

void measure_step(Session& session, const std::string& name, const Work& work, const Saving& saving) {
  runtime::Stream& stream = session.stream();
  session.peaks(work.dtype);  // before the model takes its memory
  model::Decoder decoder(stream, work.config, work.dtype);
  decoder.initialize(stream, 1);
  decoder.allocate_grads(stream);
  experiments::Trainer trainer(
      stream, decoder,
      runtime::optim::make_adamw(stream, decoder.parameters(), {.lr = 1e-4},
                                 {.master_weights = work.masters(), .int8_moments = saving.int8_moments}),
      {.total_steps = 1 << 20, .micro_batch_tokens = work.tokens, .recompute = saving.memory.recompute});
  const std::vector<TrainingSequence> sequences = random_sequences(work);
  std::vector<const TrainingSequence*> batch;
  for (const TrainingSequence& sequence : sequences) batch.push_back(&sequence);

  stream.allocator()->reset_peak();
  const double first_loss = trainer.step(batch).loss;
  const auto tokens = static_cast<double>(work.length) * static_cast<double>(batch.size());
  session.measure(
      {.name = "step",
       .dtype = work.dtype,
       .shape = fmt::format("model={} tokens={} length={} {}", name, tokens, work.length, saving.text()),
       .flops = tokens * step_flops_per_token(work.config, work.length),
       .tokens = tokens,
       .memory_bytes = stream.allocator()->stats().peak_bytes,
       .planned_bytes = saving.memory.peak()},
      [&] { trainer.step(batch); },
      // Random weights know nothing: the loss is that of equal scores for the whole vocabulary.
      [&] { return std::abs(first_loss - std::log(static_cast<double>(work.config.vocab_size))) < 0.5; });
}

int run(Arguments& arguments) {
  Session session("step", arguments);
  const ModelChoice choice =
      take_models(session, arguments, "tiny", session.on_gpu() ? "bfloat16" : "float32,bfloat16");
  const int64_t tokens = arguments.number("tokens", session.quick() ? 32 : session.on_gpu() ? 16384 : 1024);
  const int64_t length = arguments.number("length", session.quick() ? 16 : 1024);
  arguments.finish();
  if (length < 2 || tokens < length) {
    throw runtime::UsageError("there is no sequence to train on", "bench_step", "give --length >= 2, --tokens >= it");
  }
  for (const std::string& name : choice.models) {
    for (const DType dtype : choice.dtypes) {
      const Work work{read_shape(name), dtype, tokens, length};
      if (const auto saving = least_saving(session, work)) {
        measure_step(session, name, work, *saving);
      } else {
        std::puts(fmt::format("step {} {}: left out, it does not fit into memory", name, runtime::name(dtype)).c_str());
      }
    }
  }
  return session.exit_code();
}

}  // namespace
}  // namespace subspect::bench

int main(int argc, char** argv) {
  using namespace subspect::bench;  // NOLINT(google-build-using-namespace): the program is this file
  return run_program("bench_step", std::string(usage) + std::string(common_usage), argc, argv, run);
}
