// Finding models: directories, the Hugging Face cache (its layout: huggingface_hub's "Understand caching"), random.
#include "model/hub.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>

#include "model/checkpoint.h"
#include "runtime/error.h"
#include "runtime/io/files.h"

namespace subspect::model {

namespace fs = std::filesystem;
using runtime::Error;

namespace {

/// The value of an environment variable; empty counts as unset.
std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? std::nullopt : std::optional<std::string>(value);
}

fs::path expand_home(const std::string& text) {
  if (text != "~" && !text.starts_with("~/")) return text;
  return fs::path(environment("HOME").value_or("/")) / text.substr(text.size() > 1 ? 2 : 1);
}

/// What huggingface_hub takes for true: 1, on, yes, true in any case.
bool is_set(const char* name) {
  std::string value = environment(name).value_or("0");
  std::transform(value.begin(), value.end(), value.begin(), [](unsigned char c) { return std::tolower(c); });
  return value == "1" || value == "true" || value == "yes" || value == "on";
}

bool is_offline() {
  return is_set("HF_HUB_OFFLINE") || is_set("TRANSFORMERS_OFFLINE");
}

bool is_id_part(std::string_view part) {
  constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
  return !part.empty() && part.find_first_not_of(allowed) == std::string_view::npos && part.front() != '.' &&
         part.find("..") == std::string_view::npos && part.find("--") == std::string_view::npos;
}

/// A branch, tag or commit; also with folders: refs/pr/3.
bool is_revision(std::string_view text) {
  size_t slash = text.find('/');
  for (; slash != std::string_view::npos; slash = text.find('/')) {
    if (!is_id_part(text.substr(0, slash))) return false;
    text.remove_prefix(slash + 1);
  }
  return is_id_part(text);
}

/// Where Hugging Face keeps its cache and token.
fs::path hub_home() {
  if (const auto home = environment("HF_HOME")) return expand_home(*home);
  return expand_home(environment("XDG_CACHE_HOME").value_or("~/.cache")) / "huggingface";
}

/// "owner/name" or "name", with an optional "@revision".
struct HubId {
  std::string name;
  std::string revision = "main";
};

std::optional<HubId> parse_hub_id(const std::string& text) {
  HubId id;
  const size_t at = text.find('@');
  id.name = text.substr(0, at);
  if (at != std::string::npos) id.revision = text.substr(at + 1);
  const size_t slash = id.name.find('/');
  const bool parts_fit = slash == std::string::npos ? is_id_part(id.name)
                                                    : is_id_part(std::string_view(id.name).substr(0, slash)) &&
                                                          is_id_part(std::string_view(id.name).substr(slash + 1));
  if (!parts_fit || !is_revision(id.revision)) return std::nullopt;
  return id;
}

/// cache/models--owner--name
fs::path repository_folder(const HubId& id) {
  std::string folder = "models--" + id.name;
  if (const size_t slash = folder.find('/'); slash != std::string::npos) folder.replace(slash, 1, "--");
  return hub_cache() / folder;
}

/// The snapshot of a branch, tag or commit; nothing when it is not cached.
std::optional<fs::path> find_snapshot(const HubId& id) {
  const fs::path repository = repository_folder(id);
  std::string commit = id.revision;
  std::ifstream ref(repository / "refs" / id.revision);
  if (ref) ref >> commit;
  fs::path snapshot = repository / "snapshots" / commit;
  std::error_code ignored;
  return is_id_part(commit) && fs::is_directory(snapshot, ignored) ? std::optional(std::move(snapshot)) : std::nullopt;
}

/// True when the snapshot has its configuration and weights; huggingface_hub also caches single files.
bool is_complete(const fs::path& snapshot) {
  std::error_code ignored;
  if (!fs::exists(snapshot / "config.json", ignored)) return false;
  if (fs::exists(snapshot / "model.safetensors", ignored)) return true;
  const fs::path file = snapshot / "model.safetensors.index.json";
  if (!fs::exists(file, ignored)) return false;
  const auto index = nlohmann::json::parse(runtime::io::read_file(file), nullptr, false);
  if (!index.is_object() || !index.contains("weight_map")) return false;
  for (const auto& shard : index["weight_map"]) {
    if (!shard.is_string() || !fs::exists(snapshot / shard.get<std::string>(), ignored)) return false;
  }
  return true;
}

std::string trimmed(const std::string& text) {
  constexpr const char* blanks = " \t\r\n";
  const size_t first = text.find_first_not_of(blanks);
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

/// The token as huggingface_hub finds it; empty: none.
std::string find_token() {
  if (is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN")) return "";
  if (const auto token = environment("HF_TOKEN")) return trimmed(*token);
  if (const auto token = environment("HUGGING_FACE_HUB_TOKEN")) return trimmed(*token);
  const fs::path file =
      environment("HF_TOKEN_PATH") ? expand_home(*environment("HF_TOKEN_PATH")) : hub_home() / "token";
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) return "";
  constexpr int64_t longest_token = 65536;
  return trimmed(runtime::io::read_file(file, longest_token));
}

fs::path download(const HubId& id, const Downloads& downloads) {
  HubDownload wanted;
  wanted.repository = id.name;
  wanted.revision = id.revision;
  wanted.endpoint = environment("HF_ENDPOINT").value_or(wanted.endpoint);
  wanted.token = find_token();
  wanted.cache = hub_cache();
  wanted.observer = downloads.observer;
  return download_model(wanted);
}

fs::path require_config(fs::path directory) {
  if (!fs::exists(directory / "config.json")) {
    throw Error("no config.json in the model directory", directory.string(),
                "give a Hugging Face model directory: config.json, model.safetensors, tokenizer.json");
  }
  return directory;
}

}  // namespace

fs::path hub_cache() {
  if (const auto cache = environment("HF_HUB_CACHE")) return expand_home(*cache);
  if (const auto cache = environment("HUGGINGFACE_HUB_CACHE")) return expand_home(*cache);
  return hub_home() / "hub";
}

fs::path find_model(const std::string& text, const Downloads* downloads) {
  const fs::path path = expand_home(text);
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return require_config(path);
  const std::optional<HubId> id = parse_hub_id(text);
  if (!id || fs::exists(path, ignored)) {
    throw Error("no such model directory", text,
                "give a Hugging Face model directory, or a hub id such as Qwen/Qwen2.5-1.5B");
  }
  const bool may_download = downloads != nullptr && !is_offline();
  std::optional<fs::path> snapshot = find_snapshot(*id);
  if (snapshot && (!may_download || is_complete(*snapshot))) return require_config(std::move(*snapshot));
  if (may_download) return require_config(download(*id, *downloads));
  const std::string revision = id->revision == "main" ? "" : fmt::format(" --revision {}", id->revision);
  throw Error("neither a directory nor a model in the Hugging Face cache",
              fmt::format("{}, cache {}", text, hub_cache().string()),
              fmt::format("check the path, or run `hf download {}{}`{} and try again; a dry run downloads nothing",
                          id->name, revision, is_offline() ? " with HF_HUB_OFFLINE unset" : ""));
}

std::string ModelSource::describe() const {
  return random() ? "random weights of " + config.string() : name;
}

DecoderConfig source_config(const ModelSource& source, const Downloads* downloads) {
  return read_decoder_config(source.random() ? source.config : find_model(source.name, downloads) / "config.json");
}

fs::path source_tokenizer_directory(const ModelSource& source, const Downloads* downloads) {
  return source.random() ? source.tokenizer : find_model(source.name, downloads);
}

Decoder open_model(runtime::Stream& stream, const ModelSource& source, std::optional<runtime::DType> dtype,
                   uint64_t seed, const Downloads* downloads) {
  if (!source.random()) return load_decoder(stream, find_model(source.name, downloads), dtype);
  DecoderConfig config = read_decoder_config(source.config);
  const runtime::DType model_dtype = dtype.value_or(compute_dtype(config.dtype));
  Decoder decoder(stream, std::move(config), model_dtype);
  decoder.initialize(stream, seed);
  return decoder;
}

}  // namespace subspect::model
