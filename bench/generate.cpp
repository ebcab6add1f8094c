// Generation with a model of random weights: new tokens per second of prefilling and decoding many prompts at once, and
// the allocator's peak beside what plan_inference foretells. That a batch gives the tokens which its first prompt gives
// alone is checked before batches are timed.
//
//   bench_generate [--config=configs/models/tiny-llama.json] [--prompt=128] [--new=64] [--threads=N] [--benchmark_...]
#include "model/generation/generate.h"

#include <benchmark/benchmark.h>

#include <cstdio>
#include <memory>

#include "bench/arguments.h"
#include "model/inspect.h"
#include "runtime/random.h"

namespace {

using namespace subspect;  // NOLINT(google-build-using-namespace): the program is this file

struct Setting {
  std::shared_ptr<runtime::Stream> stream;
  model::DecoderConfig config;
  int64_t prompt = 0;      // tokens
  int64_t new_tokens = 0;  // of each completion
};

Setting setting;

std::vector<std::vector<int32_t>> random_prompts(int64_t count) {
  runtime::Random random(1);
  std::vector<std::vector<int32_t>> prompts(static_cast<size_t>(count));
  for (std::vector<int32_t>& prompt : prompts) {
    for (int64_t t = 0; t < setting.prompt; ++t) {
      prompt.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(setting.config.vocab_size))));
    }
  }
  return prompts;
}

void generate(benchmark::State& state, runtime::DType dtype) {
  model::Decoder decoder(*setting.stream, setting.config, dtype);
  decoder.initialize(*setting.stream, 1);
  const std::vector<std::vector<int32_t>> prompts = random_prompts(state.range(0));
  const model::GenerationOptions options{
      .max_new_tokens = setting.new_tokens, .ignore_eos = true, .max_sequences = state.range(0)};
  const auto run = [&](std::span<const std::vector<int32_t>> some) {
    return model::generate(*setting.stream, decoder, nullptr, some, options);
  };
  // bfloat16 rounds a product differently with another number of rows, which may change a token.
  if (dtype == runtime::DType::float32 && run(prompts)[0].tokens != run(std::span(prompts).first(1))[0].tokens) {
    state.SkipWithError("wrong result");
    return;
  }
  setting.stream->allocator()->reset_peak();
  setting.stream->allocator()->reset_peak();
  for (auto _ : state) run(prompts);
  const double sequences = static_cast<double>(state.iterations() * state.range(0));
  using benchmark::Counter;
  state.counters["new_tokens/s"] = Counter(sequences * static_cast<double>(setting.new_tokens), Counter::kIsRate);
  const int64_t length = setting.prompt + setting.new_tokens;
  state.counters["FLOP/s"] =
      Counter(sequences * static_cast<double>(length) * model::forward_flops_per_token(setting.config, length),
              Counter::kIsRate);
  state.counters["peak_MB"] = static_cast<double>(setting.stream->allocator()->stats().peak_bytes) / 1e6;
  state.counters["planned_MB"] =
      static_cast<double>(model::plan_inference(setting.config, dtype, state.range(0), length,
                                                model::default_cache_bytes(setting.stream->device()))
                              .total()) /
      1e6;
}

void add(const char* name, runtime::DType dtype) {
  benchmark::RegisterBenchmark(name, [dtype](benchmark::State& state) { generate(state, dtype); })
      ->Arg(1)
      ->Arg(16)
      ->Arg(64)
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
}

}  // namespace

int main(int argc, char** argv) try {
  setting.stream = runtime::Stream::open(runtime::Device::parse(bench::take_argument(argc, argv, "device", "cpu")),
                                         static_cast<int>(bench::take_number(argc, argv, "threads", 0)));
  setting.config =
      model::read_decoder_config(bench::take_argument(argc, argv, "config", "configs/models/tiny-llama.json"));
  setting.prompt = bench::take_number(argc, argv, "prompt", 128);
  setting.new_tokens = bench::take_number(argc, argv, "new", 64);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  add("generate/float32", runtime::DType::float32);
  add("generate/bfloat16", runtime::DType::bfloat16);
  benchmark::RunSpecifiedBenchmarks();
  setting.stream.reset();
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_generate: %s\n", error.what());
  return 1;
}
