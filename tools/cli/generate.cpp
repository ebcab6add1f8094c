// subspect generate: completes the prompts of a JSONL file.
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "model/checkpoint.h"
#include "model/generation/generate.h"
#include "model/hub.h"
#include "model/prompts.h"
#include "model/tokenizer/tokenizer.h"
#include "runtime/error.h"
#include "runtime/interrupt.h"
#include "tools/cli/commands.h"
#include "tools/cli/common.h"

namespace subspect::cli {

namespace {

struct GenerateOptions {
  std::string model, input, output, format = "raw", dtype = "auto";
  model::GenerationOptions generation;
  int64_t batch = 0;
  DeviceOptions device;
};

struct Prompts {
  std::vector<std::string> texts;
  std::vector<std::vector<int32_t>> ids;
};

Prompts read_prompts(const GenerateOptions& options, const model::Tokenizer& tokenizer,
                     const model::PromptFormat& format) {
  Prompts prompts;
  for_each_json_line(options.input, [&](const nlohmann::json& line, const std::string& where) {
    prompts.texts.push_back(text_member(line, "prompt", where));
    const std::string text = format.render_prompt({prompts.texts.back(), "", std::nullopt});
    prompts.ids.push_back(model::encode_prompt(tokenizer, format, text).ids);
    if (prompts.ids.back().empty()) {
      throw runtime::Error("the prompt has no tokens", where, "write some text; this tokenizer adds no BOS");
    }
  });
  return prompts;
}

std::optional<runtime::DType> parse_dtype(const std::string& name) {
  if (name == "float32") return runtime::DType::float32;
  if (name == "bfloat16") return runtime::DType::bfloat16;
  return std::nullopt;
}

int generate(const GenerateOptions& options, bool verbose) {
  Console console(verbose);
  const auto stream = open_stream(options.device);
  const ModelDownloads downloads(console);
  const auto directory = model::find_model(options.model, downloads);
  const auto tokenizer = model::Tokenizer::load(directory);
  const auto format = model::make_prompt_format(options.format);
  const Prompts prompts = read_prompts(options, tokenizer, *format);
  model::Decoder decoder = model::load_decoder(*stream, directory, parse_dtype(options.dtype));
  model::GenerationOptions generation = options.generation;
  generation.max_sequences = options.batch > 0 ? options.batch : model::default_sequences(stream->device());
  generation.eos_ids = model::read_eos_ids(directory, decoder.config());
  if (!format->end_token().empty()) generation.eos_ids.push_back(model::end_id(tokenizer, *format));
  runtime::install_interrupt_handlers();
  std::vector<model::Completion> completions;
  {
    auto task = console.progress.begin("generating", static_cast<int64_t>(prompts.ids.size()), "prompts");
    completions = model::generate(*stream, decoder, &tokenizer, prompts.ids, generation, [&](const auto& progress) {
      task.set(progress.finished);
      task.note(fmt::format("{} tokens", progress.new_tokens));
      if (runtime::interrupt_requested()) throw runtime::Interrupted("interrupted", "", "nothing was written");
    });
  }
  LineOutput output(options.output);
  for (size_t i = 0; i < completions.size(); ++i) {
    output.write({{"prompt", prompts.texts[i]},
                  {"completion", completions[i].text},
                  {"finish_reason", model::name(completions[i].finish_reason)},
                  {"tokens", completions[i].tokens}});
  }
  output.finish();
  return 0;
}

}  // namespace

void add_generate(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("generate", "complete prompts, line by line");
  const auto options = std::make_shared<GenerateOptions>();
  auto& sampling = options->generation.sampling;
  command->add_option("--model", options->model, "a model directory or hub id")->required();
  command->add_option("--input", options->input, "lines {\"prompt\": ...}; default: standard input")
      ->type_name("F.jsonl");
  command->add_option("--output", options->output, "lines with completion and tokens; default: standard output")
      ->type_name("F.jsonl");
  command->add_option("--max-new-tokens", options->generation.max_new_tokens, "at most")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->add_option("--temperature", sampling.temperature, "0 = greedy")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--top-k", sampling.top_k, "0 = all")->capture_default_str()->check(CLI::NonNegativeNumber);
  command->add_option("--top-p", sampling.top_p, "keep the likeliest tokens that sum to this")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--repetition-penalty", sampling.repetition_penalty, "1 = none")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->add_option("--seed", sampling.seed, "of the random numbers")->capture_default_str();
  command->add_option("--stop", options->generation.stop, "text that ends a completion; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--batch", options->batch, "sequences that run at once; 0: 64 on a CPU, 256 on a GPU")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command
      ->add_option("--prompt-format", options->format,
                   fmt::format("{}", fmt::join(model::prompt_format_names(false), ", ")))
      ->capture_default_str();
  command->add_option("--dtype", options->dtype, "of weights and activations; auto: the checkpoint's")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "float32", "bfloat16"}));
  add_device_options(*command, options->device);
  command->footer(
      "Examples:\n"
      "  echo '{\"prompt\": \"The capital of France is\"}' | subspect generate --model DIR\n"
      "  subspect generate --model DIR --input prompts.jsonl --output out.jsonl --prompt-format chatml --temperature "
      "0.7");
  command->callback([options, &invocation] {
    invocation.action = [options, &invocation] { return generate(*options, invocation.verbose); };
  });
}

}  // namespace subspect::cli
