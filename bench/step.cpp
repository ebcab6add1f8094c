// Optimizer steps of a model with random weights: tokens and declared flops (model/inspect.h) per second, and the
// allocator's peak beside what plan_training foretells. The first step's loss is checked before steps are timed.
//
//   bench_step [--config=configs/models/tiny-llama.json] [--tokens=8192] [--length=512] [--threads=N] [--benchmark_...]
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdio>
#include <memory>

#include "bench/arguments.h"
#include "experiments/training/trainer.h"
#include "model/inspect.h"
#include "runtime/error.h"
#include "runtime/random.h"

namespace {

using namespace subspect;  // NOLINT(google-build-using-namespace): the program is this file
using runtime::DType;

struct Setting {
  std::shared_ptr<runtime::Stream> stream;
  model::DecoderConfig config;
  int64_t tokens = 0;  // of a step, one micro-batch
  int64_t length = 0;  // of a sequence
};

Setting setting;

std::vector<experiments::TrainingSequence> random_sequences() {
  runtime::Random random(1);
  std::vector<experiments::TrainingSequence> sequences;
  for (int64_t i = 0; i < setting.tokens / setting.length; ++i) {
    experiments::TrainingSequence& sequence = sequences.emplace_back();
    for (int64_t t = 0; t < setting.length; ++t) {
      sequence.ids.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(setting.config.vocab_size))));
    }
    sequence.targets = model::shift_labels(sequence.ids);
    sequence.predicted = setting.length - 1;
  }
  return sequences;
}

experiments::Trainer make_trainer(model::Decoder& decoder, bool recompute) {
  decoder.initialize(*setting.stream, 1);
  decoder.allocate_grads(*setting.stream);
  const bool masters = decoder.dtype() == DType::bfloat16;
  return {*setting.stream,
          decoder,
          runtime::optim::make_adamw(*setting.stream, decoder.parameters(), {.lr = 1e-4}, {.master_weights = masters}),
          {.total_steps = 1 << 20, .micro_batch_tokens = setting.tokens, .recompute = recompute}};
}

double planned_bytes(DType dtype, bool recompute) {
  return static_cast<double>(model::plan_training(setting.config, {.compute = dtype,
                                                                   .master_weights = dtype == DType::bfloat16,
                                                                   .micro_batch_tokens = setting.tokens,
                                                                   .recompute = recompute})
                                 .total());
}

void step(benchmark::State& state, DType dtype, bool recompute) {
  model::Decoder decoder(*setting.stream, setting.config, dtype);
  experiments::Trainer trainer = make_trainer(decoder, recompute);
  const std::vector<experiments::TrainingSequence> sequences = random_sequences();
  std::vector<const experiments::TrainingSequence*> batch;
  for (const experiments::TrainingSequence& sequence : sequences) batch.push_back(&sequence);
  setting.stream->allocator()->reset_peak();
  // Random weights know nothing: the loss is that of equal scores for the whole vocabulary.
  const double loss = trainer.step(batch).loss;
  if (std::abs(loss - std::log(static_cast<double>(setting.config.vocab_size))) > 0.5) {
    state.SkipWithError("wrong result");
    return;
  }
  for (auto _ : state) trainer.step(batch);
  const auto tokens = static_cast<double>(state.iterations() * setting.length) * static_cast<double>(batch.size());
  using benchmark::Counter;
  state.counters["tokens/s"] = Counter(tokens, Counter::kIsRate);
  state.counters["FLOP/s"] =
      Counter(tokens * model::training_flops_per_token(setting.config, setting.length), Counter::kIsRate);
  state.counters["peak_MB"] = static_cast<double>(setting.stream->allocator()->stats().peak_bytes) / 1e6;
  state.counters["planned_MB"] = planned_bytes(dtype, recompute) / 1e6;
}

void add(const char* name, DType dtype, bool recompute) {
  benchmark::RegisterBenchmark(name, [dtype, recompute](benchmark::State& state) { step(state, dtype, recompute); })
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
}

}  // namespace

int main(int argc, char** argv) try {
  setting.stream = runtime::Stream::open(runtime::Device::parse(bench::take_argument(argc, argv, "device", "cpu")),
                                         static_cast<int>(bench::take_number(argc, argv, "threads", 0)));
  setting.config =
      model::read_decoder_config(bench::take_argument(argc, argv, "config", "configs/models/tiny-llama.json"));
  setting.tokens = bench::take_number(argc, argv, "tokens", 8192);
  setting.length = bench::take_number(argc, argv, "length", 512);
  if (setting.length < 2 || setting.tokens < setting.length) {
    throw runtime::UsageError("there is no sequence to train on", "bench_step", "give --length >= 2, --tokens >= it");
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  add("step/float32", DType::float32, false);
  add("step/float32/recompute", DType::float32, true);
  add("step/bfloat16", DType::bfloat16, false);
  add("step/bfloat16/recompute", DType::bfloat16, true);
  benchmark::RunSpecifiedBenchmarks();
  setting.stream.reset();
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_step: %s\n", error.what());
  return 1;
}
