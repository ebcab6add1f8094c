// Generation with a model of random weights: prefilling and decoding many prompts at once. The bytes are the least that
// decoding reads: all weights once for each new token, and the cached keys and values of every sequence. That a batch
// gives the tokens which its first prompt gives alone is checked.
#include <fmt/format.h>

#include "bench/shapes.h"
#include "model/generation/generate.h"
#include "model/inspect.h"
#include "runtime/random.h"

namespace subspect::bench {
namespace {

using runtime::DType;

constexpr std::string_view usage =
    "bench_generate: greedy completions by models with random weights.\n\n"
    "  --models=LIST      of bench/shapes; on a GPU 0.5b,1.5b,3b,7b, on the CPU tiny\n"
    "  --dtypes=LIST      float32, bfloat16; on a GPU bfloat16 unless given\n"
    "  --sequences=LIST   that run at once\n"
    "  --prompt=N         tokens of each prompt\n"
    "  --new=N            tokens of each completion\n";

struct Work {
  model::DecoderConfig config;
  DType dtype = DType::float32;
  int64_t sequences = 0;
  int64_t prompt = 0;
  int64_t new_tokens = 0;
};

std::vector<std::vector<int32_t>> random_prompts(const Work& work) {
  runtime::Random random(1);
  std::vector<std::vector<int32_t>> prompts(static_cast<size_t>(work.sequences));
  for (std::vector<int32_t>& prompt : prompts) {
    for (int64_t t = 0; t < work.prompt; ++t) {
      prompt.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(work.config.vocab_size))));
    }
  }
  return prompts;
}

/// Read by decoding, at least: the table of tokens is not, unless it is the head.
double least_bytes(const Work& work) {
  const model::ParameterCounts counts = model::count_parameters(work.config);
  const auto element = static_cast<double>(runtime::element_size(work.dtype));
  const auto steps = static_cast<double>(work.new_tokens);
  const auto weights = static_cast<double>(counts.total() - (work.config.tied_embeddings ? 0 : counts.embedding));
  const double cached = static_cast<double>(work.sequences) * (static_cast<double>(work.prompt) + steps / 2);
  const auto cache_per_token = static_cast<double>(2 * work.config.kv_size() * work.config.layers);
  return steps * element * (weights + cached * cache_per_token);
}

void measure_generation(Session& session, const std::string& name, model::Decoder& decoder, const Work& work) {
  runtime::Stream& stream = session.stream();
  const std::vector<std::vector<int32_t>> prompts = random_prompts(work);
  const model::GenerationOptions options{
      .max_new_tokens = work.new_tokens, .ignore_eos = true, .max_sequences = work.sequences};
  std::vector<model::Completion> completions;
  const auto run = [&](std::span<const std::vector<int32_t>> some) {
    return model::generate(stream, decoder, nullptr, some, options);
  };
  stream.allocator()->reset_peak();
  run(prompts);
  const int64_t peak = stream.allocator()->stats().peak_bytes;
  const int64_t length = work.prompt + work.new_tokens;
  const auto sequences = static_cast<double>(work.sequences);
  const int64_t cache = model::default_cache_bytes(stream.device());
  session.measure(
      {.name = "generate",
       .dtype = work.dtype,
       .shape =
           fmt::format("model={} sequences={} prompt={} new={}", name, work.sequences, work.prompt, work.new_tokens),
       .bytes = least_bytes(work),
       .flops = sequences * static_cast<double>(length) * model::forward_flops_per_token(work.config, length),
       .tokens = sequences * static_cast<double>(work.new_tokens),
       .memory_bytes = peak,
       .planned_bytes = model::plan_inference(work.config, work.dtype, work.sequences, length, cache).total()},
      [&] { completions = run(prompts); },
      [&] {
        // bfloat16 rounds a product differently with another number of rows, which may change a token.
        if (completions.front().tokens.size() != static_cast<size_t>(work.new_tokens)) return false;
        return work.dtype != DType::float32 ||
               completions.front().tokens == run(std::span(prompts).first(1)).front().tokens;
      });
}

int run(Arguments& arguments) {
  Session session("generate", arguments);
  const ModelChoice choice =
      take_models(session, arguments, "tiny", session.on_gpu() ? "bfloat16" : "float32,bfloat16");
  const auto sequences = arguments.list("sequences", session.quick() ? "2" : session.on_gpu() ? "1,64,256" : "1,8");
  const int64_t prompt = arguments.number("prompt", session.quick() ? 8 : 128);
  const int64_t new_tokens = arguments.number("new", session.quick() ? 4 : session.on_gpu() ? 128 : 32);
  arguments.finish();
  for (const std::string& name : choice.models) {
    for (const DType dtype : choice.dtypes) {
      session.peaks(dtype);  // before the model takes its memory
      const model::DecoderConfig config = read_shape(name);
      model::Decoder decoder(session.stream(), config, dtype);
      decoder.initialize(session.stream(), 1);
      for (const std::string& count : sequences) {
        measure_generation(session, name, decoder, {config, dtype, to_number("sequences", count), prompt, new_tokens});
      }
    }
  }
  return session.exit_code();
}

}  // namespace
}  // namespace subspect::bench

int main(int argc, char** argv) {
  using namespace subspect::bench;  // NOLINT(google-build-using-namespace): the program is this file
  return run_program("bench_generate", std::string(usage) + std::string(common_usage), argc, argv, run);
}
