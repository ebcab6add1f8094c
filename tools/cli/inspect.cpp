// subspect inspect: what a model directory holds and what it takes to run and to fine-tune it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>

#include "model/config.h"
#include "model/hub.h"
#include "model/inspect.h"
#include "model/tokenizer/tokenizer.h"
#include "model/training_memory.h"
#include "runtime/io/safetensors.h"
#include "tools/cli/commands.h"
#include "tools/cli/common.h"

namespace subspect::cli {

namespace {

constexpr int64_t run_length = 2048;  // tokens of the sequence whose memory is shown

void line(std::string_view name, const std::string& value) {
  fmt::print("{:<20}{}\n", fmt::format("{}:", name), value);
}

std::string gigabytes(int64_t bytes) {
  const auto size = static_cast<double>(bytes);
  return size < 1e9 ? fmt::format("{:.1f} MB", size / 1e6) : fmt::format("{:.2f} GB", size / 1e9);
}

void print_architecture(const model::DecoderConfig& config) {
  line("architecture", config.model_type);
  line("layers", std::to_string(config.layers));
  line("hidden size", std::to_string(config.hidden_size));
  line("heads", fmt::format("{} ({} key/value) of {}", config.heads, config.kv_heads, config.head_dim));
  line("intermediate size", std::to_string(config.intermediate_size));
  line("vocabulary", std::to_string(config.vocab_size));
  line("positions", std::to_string(config.max_positions));
  line("embeddings", config.tied_embeddings ? "tied" : "separate");
}

void print_weights(const std::filesystem::path& directory) {
  const auto set = runtime::io::SafetensorsSet::open(directory);
  std::map<std::string, int64_t> dtypes;
  for (const std::string& name : set.names()) ++dtypes[std::string(runtime::name(set.info(name).dtype))];
  std::string kinds;
  for (const auto& entry : dtypes)
    kinds += fmt::format("{}{} {}", kinds.empty() ? "" : ", ", entry.second, entry.first);
  line("tensors", fmt::format("{} in {} files ({})", set.names().size(), set.files().size(), kinds));
}

void print_costs(const model::DecoderConfig& config) {
  const auto counts = model::count_parameters(config);
  line("parameters",
       fmt::format("{} (embedding {}, attention {}, feed-forward {}, norms {}, lm_head {})", counts.total(),
                   counts.embedding, counts.attention, counts.feed_forward, counts.norms, counts.lm_head));
  const int64_t length = std::min<int64_t>(run_length, config.max_positions);
  const auto running = [&](runtime::DType dtype) {
    return gigabytes(model::plan_inference(config, dtype, 1, length, 0).total());
  };
  line("to run", fmt::format("{} in bfloat16, {} in float32, one sequence of {} tokens",
                             running(runtime::DType::bfloat16), running(runtime::DType::float32), length));
  model::TrainingShape shape;
  const int64_t in_float32 = model::plan_training(config, shape).reserved;
  shape.compute = runtime::DType::bfloat16;
  shape.master_weights = true;
  line("to fine-tune", fmt::format("{} in bfloat16 with float32 masters, {} in float32 (AdamW, {} tokens at a time)",
                                   gigabytes(model::plan_training(config, shape).reserved), gigabytes(in_float32),
                                   shape.micro_batch_tokens));
  line("operations",
       fmt::format("{:.3g} flop per token forward, {:.3g} to train on it",
                   model::forward_flops_per_token(config, length), model::training_flops_per_token(config, length)));
}

void print_tokenizer(const std::filesystem::path& directory) {
  if (!std::filesystem::exists(directory / "tokenizer.json")) {
    line("tokenizer", "none in this directory");
    return;
  }
  const auto tokenizer = model::Tokenizer::load(directory);
  const auto token = [&](const std::optional<int32_t>& id) { return id ? tokenizer.id_to_token(*id) : "none"; };
  line("tokenizer", fmt::format("{} tokens, BOS {}, EOS {}", tokenizer.vocab_size(), token(tokenizer.bos_id()),
                                token(tokenizer.eos_id())));
}

int inspect(const std::string& name) {
  Console console(false);
  const ModelDownloads downloads(console);
  const auto directory = model::find_model(name, downloads);
  line("directory", directory.string());
  const auto config = model::read_decoder_config(directory / "config.json");
  print_architecture(config);
  print_weights(directory);
  print_costs(config);
  print_tokenizer(directory);
  return 0;
}

}  // namespace

void add_inspect(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("inspect", "architecture, parameters, tokenizer and memory of a model");
  const auto directory = std::make_shared<std::string>();
  command->add_option("model", *directory, "a model directory or hub id")->required()->type_name("DIR");
  command->footer("Example:\n  subspect inspect runs/finetune/model");
  command->callback([directory, &invocation] { invocation.action = [directory] { return inspect(*directory); }; });
}

}  // namespace subspect::cli
