// Hugging Face directories read into a Decoder, and written.
#include "model/checkpoint.h"

#include <algorithm>
#include <array>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "model/output_directory.h"
#include "runtime/error.h"
#include "runtime/io/files.h"
#include "runtime/linalg/finite.h"
#include "runtime/parallel.h"

namespace subspect::model {

namespace fs = std::filesystem;
using runtime::DType;
using runtime::Error;
using runtime::Parameter;
using runtime::Stream;
using runtime::Tensor;

namespace {

/// Tensors by name, and for errors where each comes from.
struct WeightSource {
  std::vector<std::string> names;
  std::function<Tensor(const std::string& name)> tensor;
  std::function<std::string(const std::string& name)> where;  ///< of one tensor
  std::string origin;                                         ///< of all
};

/// The names that the decoder reads.
std::set<std::string> wanted_names(const Decoder& decoder) {
  std::set<std::string> names;
  for (const Parameter* parameter : decoder.parameters()) {
    for (const Parameter::Part& part : parameter->parts) names.insert(part.name);
  }
  return names;
}

/// Tensors that checkpoints hold and nobody reads: buffers of old Transformers, and a head that is tied.
bool is_redundant(const std::string& name, const Decoder& decoder) {
  if (name.ends_with(".rotary_emb.inv_freq")) return true;
  return decoder.config().tied_embeddings && name == "lm_head.weight";
}

void check_names(const Decoder& decoder, const WeightSource& source) {
  const std::set<std::string> wanted = wanted_names(decoder);
  const std::set<std::string> given(source.names.begin(), source.names.end());
  for (const std::string& name : wanted) {
    if (!given.contains(name)) {
      throw Error(fmt::format("tensor {} is missing", name), source.origin,
                  "the checkpoint does not fit its config.json: fetch it again");
    }
  }
  for (const std::string& name : given) {
    if (!wanted.contains(name) && !is_redundant(name, decoder)) {
      throw Error(fmt::format("unexpected tensor {}", name), source.where(name),
                  fmt::format("the checkpoint does not fit its config.json (model_type {}): correct one of them",
                              decoder.config().model_type));
    }
  }
}

/// Throws Error for a NaN or infinity. Large tensors are read by several threads, since their pages are still on disk.
void require_finite(const Tensor& values, const std::string& name, const std::string& where) {
  constexpr int64_t part_bytes = int64_t{8} << 20;
  if (values.bytes() <= part_bytes) return runtime::linalg::require_finite(values, name, where);
  const int64_t rows = values.size(0);
  const int64_t parts = std::min(rows, (values.bytes() + part_bytes - 1) / part_bytes);
  runtime::parallel_for(static_cast<size_t>(parts), 0, [&](size_t part) {
    const int64_t begin = rows * static_cast<int64_t>(part) / parts;
    const int64_t end = rows * (static_cast<int64_t>(part) + 1) / parts;
    if (!runtime::linalg::find_non_finite(values.narrow(0, begin, end - begin))) return;
    runtime::linalg::require_finite(values, name, where);  // names the place
  });
}

void load_part(Stream& stream, const Tensor& target, const std::string& name, const WeightSource& source) {
  const Tensor values = source.tensor(name);
  if (values.shape() != target.shape()) {
    throw Error(fmt::format("tensor {} has shape {}, config.json asks for {}", name, runtime::to_string(values.shape()),
                            runtime::to_string(target.shape())),
                source.where(name), "the checkpoint does not fit its config.json: correct one of them");
  }
  if (!is_floating_point(values.dtype())) {
    throw Error(fmt::format("tensor {} holds {}, not floating-point numbers", name, runtime::name(values.dtype())),
                source.where(name), "quantised checkpoints are not supported: use one in bfloat16, float16 or float32");
  }
  if (values.device().type == runtime::DeviceType::cpu) {
    require_finite(values, name, source.where(name));
  }
  target.copy_from(stream, values);
}

void load_all(Stream& stream, Decoder& decoder, const WeightSource& source) {
  check_names(decoder, source);
  for (const Parameter* parameter : decoder.parameters()) {
    for (const Parameter::Part& part : parameter->parts) {
      load_part(stream, parameter->part_value(part), part.name, source);
    }
  }
}

/// Beside the weights: what a tokenizer and generation need. Copied when the source directory has them.
constexpr std::array companion_files = {
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
};

std::string default_generation_config(const DecoderConfig& config) {
  nlohmann::ordered_json json;
  json["_from_model_config"] = true;
  if (config.bos_id) json["bos_token_id"] = *config.bos_id;
  if (config.eos_ids.size() == 1) json["eos_token_id"] = config.eos_ids.front();
  if (config.eos_ids.size() > 1) json["eos_token_id"] = config.eos_ids;
  return json.dump(2) + "\n";
}

void write_companions(const DecoderConfig& config, const fs::path& source, const fs::path& directory) {
  for (const char* file : companion_files) {
    if (!source.empty() && fs::exists(source / file)) fs::copy_file(source / file, directory / file);
  }
  if (!fs::exists(directory / "generation_config.json")) {
    runtime::io::write_file_atomically(directory / "generation_config.json", default_generation_config(config));
  }
}

/// The dtype that config.json states: that of the file's tensors, the widest when they differ.
DType stated_dtype(const NamedTensors& tensors, const SaveOptions& options) {
  if (options.dtype) return *options.dtype;
  DType widest = DType::bfloat16;
  for (const auto& [name, tensor] : tensors) {
    if (tensor.dtype() != DType::bfloat16) widest = tensor.dtype();
    if (tensor.dtype() == DType::float32) return DType::float32;
  }
  return widest;
}

void write_weights(Stream& stream, const NamedTensors& tensors, const fs::path& directory, const SaveOptions& options) {
  std::vector<runtime::io::TensorSpec> specs;
  std::vector<Tensor> values;
  for (const auto& [name, tensor] : tensors) {
    specs.push_back({name, options.dtype.value_or(tensor.dtype()), tensor.shape()});
    values.push_back(tensor);
  }
  const auto provide = [&](size_t index) {
    const Tensor& value = values[index];
    const bool as_is =
        value.device().type == runtime::DeviceType::cpu && value.is_contiguous() && value.dtype() == specs[index].dtype;
    return as_is ? value : value.to_cpu(stream, specs[index].dtype);
  };
  runtime::io::write_safetensors_set(directory, specs, provide, {.max_shard_bytes = options.max_shard_bytes});
}

}  // namespace

DType compute_dtype(DType stored) {
  return stored == DType::bfloat16 ? DType::bfloat16 : DType::float32;
}

Decoder load_decoder(Stream& stream, const fs::path& directory, std::optional<DType> dtype) {
  DecoderConfig config = read_decoder_config(directory / "config.json");
  const auto weights = runtime::io::SafetensorsSet::open(directory);
  const DType model_dtype = dtype.value_or(compute_dtype(config.dtype));
  Decoder decoder(stream, std::move(config), model_dtype);
  load_weights(stream, decoder, weights);
  return decoder;
}

void load_weights(Stream& stream, Decoder& decoder, const runtime::io::SafetensorsSet& tensors) {
  load_all(stream, decoder,
           {.names = tensors.names(),
            .tensor = [&](const std::string& name) { return tensors.tensor(name); },
            .where = [&](const std::string& name) { return tensors.file(name).path().string(); },
            .origin = tensors.directory().string()});
}

void load_weights(Stream& stream, Decoder& decoder, const NamedTensors& tensors, const std::string& where) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  load_all(stream, decoder,
           {.names = std::move(names),
            .tensor = [&](const std::string& name) { return tensors.at(name); },
            .where = [&](const std::string&) { return where; },
            .origin = where});
}

NamedTensors named_weights(const Decoder& decoder) {
  NamedTensors tensors;
  for (const Parameter* parameter : decoder.parameters()) {
    for (const Parameter::Part& part : parameter->parts) tensors.emplace(part.name, parameter->part_value(part));
  }
  return tensors;
}

void save_checkpoint(Stream& stream, const Decoder& decoder, const fs::path& output, const SaveOptions& options) {
  save_checkpoint(stream, decoder.config(), named_weights(decoder), output, options);
}

void save_checkpoint(Stream& stream, const DecoderConfig& config, const NamedTensors& tensors, const fs::path& output,
                     const SaveOptions& options) {
  OutputDirectory directory(output, options.overwrite);
  int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) {
    bytes += tensor.numel() * runtime::element_size(options.dtype.value_or(tensor.dtype()));
  }
  runtime::io::require_free_space(output, bytes);
  write_weights(stream, tensors, directory.path(), options);
  runtime::io::write_file_atomically(directory.path() / "config.json",
                                     config_json_text(config, stated_dtype(tensors, options)));
  write_companions(config, options.source, directory.path());
  directory.commit();
}

}  // namespace subspect::model
