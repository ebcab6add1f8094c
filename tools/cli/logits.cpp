// subspect logits: scores and hidden states of token-id lists, for comparison with other software.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "model/checkpoint.h"
#include "model/hub.h"
#include "runtime/error.h"
#include "runtime/io/safetensors.h"
#include "tools/cli/commands.h"
#include "tools/cli/common.h"

namespace subspect::cli {

using runtime::Tensor;

namespace {

struct LogitsOptions {
  std::string model, tokens, output, dtype = "float32";
  bool hidden_states = false;
  DeviceOptions device;
};

std::vector<std::vector<int32_t>> read_sequences(const std::string& file, int64_t vocabulary) {
  const auto json = nlohmann::json::parse(runtime::io::read_file(file), nullptr, false);
  if (!json.is_array() || json.empty()) {
    throw runtime::Error("this is not a list of token-id lists", file, "write [[1, 2, 3], [4, 5]]");
  }
  std::vector<std::vector<int32_t>> sequences;
  for (const auto& list : json) {
    const std::string where = fmt::format("{}, list {}", file, sequences.size());
    sequences.push_back(ids_from_json(list, where));
    if (sequences.back().empty()) throw runtime::Error("a list of token ids is empty", where, "remove it");
    for (const int32_t id : sequences.back()) {
      if (id >= vocabulary) {
        throw runtime::Error(fmt::format("token id {} is not below the vocabulary's {}", id, vocabulary), where,
                             "use the tokenizer of this model");
      }
    }
  }
  return sequences;
}

/// Runs the model on one sequence at a time, as its tensors are asked for.
class Forward {
 public:
  Forward(runtime::Stream& stream, model::Decoder& decoder, std::vector<std::vector<int32_t>> sequences, bool hidden)
      : stream_(stream), decoder_(decoder), sequences_(std::move(sequences)), hidden_(hidden) {}

  std::vector<runtime::io::TensorSpec> specs() {
    const auto& config = decoder_.config();
    std::vector<runtime::io::TensorSpec> specs;
    for (size_t i = 0; i < sequences_.size(); ++i) {
      const auto length = static_cast<int64_t>(sequences_[i].size());
      specs.push_back({fmt::format("logits.{}", i), runtime::DType::float32, {length, config.vocab_size}});
      items_.push_back({i, -1});
      for (int64_t layer = 0; hidden_ && layer <= config.layers; ++layer) {
        specs.push_back({fmt::format("hidden.{}.{}", i, layer), runtime::DType::float32, {length, config.hidden_size}});
        items_.push_back({i, layer});
      }
    }
    return specs;
  }

  Tensor tensor(size_t index) {
    const Item item = items_[index];
    if (!last_ || *last_ != item.sequence) run(item.sequence);
    const Tensor on_device =
        item.layer < 0 ? decoder_.logits(stream_, final_) : states_[static_cast<size_t>(item.layer)];
    const auto values = std::make_shared<std::vector<float>>(on_device.to_host<float>(stream_));
    return Tensor::wrap(values->data(), on_device.shape(), runtime::DType::float32, runtime::Device{}, values);
  }

 private:
  struct Item {
    size_t sequence;
    int64_t layer;  // -1: logits
  };

  void run(size_t sequence) {
    const model::Document document{sequences_[sequence], {}};
    const auto batch = model::pack(stream_, std::span(&document, 1));
    states_.clear();
    model::ForwardOptions options;
    if (hidden_) options.hidden_states = &states_;
    const runtime::Execution inference{stream_, nullptr};
    final_ = decoder_.forward(inference, batch, options).value;
    last_ = sequence;
  }

  runtime::Stream& stream_;
  model::Decoder& decoder_;
  std::vector<std::vector<int32_t>> sequences_;
  bool hidden_;
  std::vector<Item> items_;
  std::optional<size_t> last_;
  std::vector<Tensor> states_;
  Tensor final_;
};

int logits(const LogitsOptions& options) {
  const auto stream = open_stream(options.device);
  Console console(false);
  const ModelDownloads downloads(console);
  const auto dtype = options.dtype == "bfloat16" ? runtime::DType::bfloat16 : runtime::DType::float32;
  model::Decoder decoder = model::load_decoder(*stream, model::find_model(options.model, downloads), dtype);
  Forward forward(*stream, decoder, read_sequences(options.tokens, decoder.config().vocab_size), options.hidden_states);
  const auto specs = forward.specs();
  runtime::io::write_safetensors(options.output, specs, [&](size_t index) { return forward.tensor(index); });
  return 0;
}

}  // namespace

void add_logits(CLI::App& app, Invocation& invocation) {
  CLI::App* command = app.add_subcommand("logits", "scores (and hidden states) of token-id lists, as safetensors");
  const auto options = std::make_shared<LogitsOptions>();
  command->add_option("--model", options->model, "a model directory or hub id")->required();
  command->add_option("--tokens", options->tokens, "a list of token-id lists")->required()->type_name("F.json");
  command->add_option("--output", options->output, "receives logits.I [T, V] and hidden.I.L [T, D], float32")
      ->required()
      ->type_name("F.safetensors");
  command->add_flag("--hidden-states", options->hidden_states, "also every layer's output; 0 = the embeddings");
  command->add_option("--dtype", options->dtype, "of weights and activations")
      ->capture_default_str()
      ->check(CLI::IsMember({"float32", "bfloat16"}));
  add_device_options(*command, options->device);
  command->footer(
      "Example:\n  subspect logits --model DIR --tokens ids.json --output logits.safetensors --hidden-states");
  command->callback([options, &invocation] { invocation.action = [options] { return logits(*options); }; });
}

}  // namespace subspect::cli
