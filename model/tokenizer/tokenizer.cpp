// Tokenizer: the files of a directory and the pipeline they describe.
#include "model/tokenizer/tokenizer.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "model/tokenizer/engine.h"
#include "runtime/error.h"
#include "runtime/io/files.h"
#include "runtime/io/json.h"

namespace subspect::model {

using nlohmann::json;
using runtime::Error;
using tokenizer::AddedToken;
using tokenizer::Engine;
using tokenizer::EngineOptions;
using tokenizer::JsonPart;

namespace {

constexpr std::string_view tokenizer_file = "tokenizer.json";
constexpr std::string_view config_file = "tokenizer_config.json";
constexpr std::string_view special_tokens_file = "special_tokens_map.json";
constexpr std::string_view added_tokens_file = "added_tokens.json";
constexpr std::string_view chat_template_file = "chat_template.jinja";

// Beside those that are read: what other software takes its vocabulary from.
constexpr std::string_view carried_files[] = {"tokenizer.model", "vocab.json", "merges.txt", "chat_template.json"};

struct File {
  std::string name;
  std::string contents;
};

const std::string* find_file(const std::vector<File>& files, std::string_view name) {
  for (const File& file : files) {
    if (file.name == name) return &file.contents;
  }
  return nullptr;
}

/// Parses a file of the directory; null when it is absent.
json parse_optional(const std::vector<File>& files, std::string_view name, const std::filesystem::path& directory) {
  const std::string* contents = find_file(files, name);
  return contents == nullptr ? json() : runtime::io::parse_json_object(*contents, (directory / name).string());
}

/// A special token as the files name it: a text, or an object with "content".
std::optional<std::string> named_token(const JsonPart& part, const char* key) {
  if (!part.has(key)) return std::nullopt;
  const JsonPart value = part.at(key);
  return value.value.is_object() ? value.at("content").text() : value.text();
}

EngineOptions read_options(const JsonPart& config, const JsonPart& added_tokens) {
  EngineOptions options;
  options.clean_up = config.boolean_or("clean_up_tokenization_spaces", false);
  options.clean_up_bpe =
      config.boolean_or("clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output", false);
  if (config.has("added_tokens_decoder")) {
    const JsonPart decoder = config.at("added_tokens_decoder");
    for (const auto& [key, value] : decoder.value.items()) {
      int64_t id = -1;
      std::from_chars(key.data(), key.data() + key.size(), id);
      const JsonPart entry{value, fmt::format("{}.{}", decoder.where, key)};
      options.more_tokens.push_back(tokenizer::read_added_token(entry, tokenizer::Vocabulary::check_id(id, entry)));
    }
  }
  if (added_tokens.value.is_object()) {
    for (const auto& [content, value] : added_tokens.value.items()) {
      const JsonPart entry{value, added_tokens.where};
      AddedToken token;
      token.content = content;
      token.id = tokenizer::Vocabulary::check_id(entry.integer(), entry);
      token.normalized = true;
      options.more_tokens.push_back(std::move(token));
    }
  }
  return options;
}

/// The template of tokenizer_config.json: a text, or a list of named ones of which "default" is taken.
std::string read_chat_template(const JsonPart& config) {
  if (!config.has("chat_template")) return "";
  const JsonPart part = config.at("chat_template");
  if (!part.value.is_array()) return part.text();
  for (size_t i = 0; i < part.size(); ++i) {
    if (part.item(i).text_or("name", "") == "default") return part.item(i).at("template").text();
  }
  return "";
}

}  // namespace

struct Tokenizer::Impl {
  Impl(std::vector<File> contents, const std::filesystem::path& directory);

  void read_special_tokens(const JsonPart& config, const JsonPart& map);
  std::optional<int32_t> find(const JsonPart& config, const JsonPart& map, const char* key) const;
  void read_surroundings();

  std::vector<File> files;
  std::unique_ptr<Engine> engine;
  std::string where;
  std::string chat_template;
  std::optional<int32_t> bos, eos, pad, unk;
  std::vector<int32_t> prefix, suffix;
};

Tokenizer::Impl::Impl(std::vector<File> contents, const std::filesystem::path& directory)
    : files(std::move(contents)), where((directory / tokenizer_file).string()) {
  const json root = runtime::io::parse_json_object(*find_file(files, tokenizer_file), where);
  const json config = parse_optional(files, config_file, directory);
  const json map = parse_optional(files, special_tokens_file, directory);
  const json added = parse_optional(files, added_tokens_file, directory);
  const JsonPart config_part{config, (directory / config_file).string()};
  const EngineOptions options = read_options(config_part, {added, (directory / added_tokens_file).string()});
  engine = std::make_unique<Engine>(JsonPart{root, where}, options);
  const std::string* file = find_file(files, chat_template_file);
  chat_template = file != nullptr ? *file : read_chat_template(config_part);
  read_special_tokens(config_part, {map, (directory / special_tokens_file).string()});
  read_surroundings();
}

std::optional<int32_t> Tokenizer::Impl::find(const JsonPart& config, const JsonPart& map, const char* key) const {
  auto token = named_token(config, key);
  if (!token) token = named_token(map, key);
  return token ? engine->vocabulary().find(*token) : std::nullopt;
}

void Tokenizer::Impl::read_special_tokens(const JsonPart& config, const JsonPart& map) {
  bos = find(config, map, "bos_token");
  eos = find(config, map, "eos_token");
  pad = find(config, map, "pad_token");
  unk = find(config, map, "unk_token");
  if (!unk) unk = engine->vocabulary().find(engine->unk_token());
}

void Tokenizer::Impl::read_surroundings() {
  // No character is everywhere a token of its own, so look at where the template's tokens stand around one.
  const Encoding empty = engine->encode("", true);
  Encoding letter;
  try {
    letter = engine->encode("a", true);
  } catch (const Error&) {  // a vocabulary of words without an unknown token
    prefix = empty.ids;
    return;
  }
  size_t front = 0;
  while (front < letter.ids.size() && letter.added[front] != 0) ++front;
  prefix.assign(letter.ids.begin(), letter.ids.begin() + static_cast<std::ptrdiff_t>(front));
  for (size_t i = front; i < letter.ids.size(); ++i) {
    if (letter.added[i] != 0) suffix.push_back(letter.ids[i]);
  }
}

Tokenizer Tokenizer::load(const std::filesystem::path& directory) {
  std::vector<File> files;
  const auto read = [&](std::string_view name) {
    files.push_back({std::string(name), runtime::io::read_file(directory / name)});
  };
  if (!std::filesystem::exists(directory / tokenizer_file)) {
    throw Error("no tokenizer.json", directory.string(),
                "give a Hugging Face directory with a fast tokenizer (tokenizer.json)");
  }
  read(tokenizer_file);
  for (const std::string_view name : {config_file, special_tokens_file, added_tokens_file, chat_template_file}) {
    if (std::filesystem::exists(directory / name)) read(name);
  }
  for (const std::string_view name : carried_files) {
    if (std::filesystem::exists(directory / name)) read(name);
  }
  return Tokenizer(std::make_shared<const Impl>(std::move(files), directory));
}

Tokenizer Tokenizer::parse(const std::string& tokenizer_json, const std::string& tokenizer_config,
                           const std::string& where) {
  std::vector<File> files = {{std::string(tokenizer_file), tokenizer_json}};
  if (!tokenizer_config.empty()) files.push_back({std::string(config_file), tokenizer_config});
  return Tokenizer(std::make_shared<const Impl>(std::move(files), where));
}

Encoding Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  return impl_->engine->encode(text, add_special_tokens);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  StreamDecoder decoder(*this, skip_special_tokens);
  std::string text;
  for (const int32_t id : ids) text += decoder.push(id);
  return text + decoder.finish();
}

std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const {
  return impl_->engine->vocabulary().find(token);
}

const std::string& Tokenizer::id_to_token(int32_t id) const {
  const std::string* token = impl_->engine->vocabulary().token(id);
  if (token == nullptr) {
    throw Error(fmt::format("token id {} is not in the vocabulary of {}", id, vocab_size()), impl_->where,
                "use the tokenizer that the ids were made with");
  }
  return *token;
}

bool Tokenizer::has_token(int32_t id) const {
  return impl_->engine->vocabulary().token(id) != nullptr;
}

bool Tokenizer::is_special(int32_t id) const {
  return id >= 0 && impl_->engine->is_special(id);
}
int64_t Tokenizer::vocab_size() const {
  return impl_->engine->vocabulary().size();
}
std::optional<int32_t> Tokenizer::bos_id() const {
  return impl_->bos;
}
std::optional<int32_t> Tokenizer::eos_id() const {
  return impl_->eos;
}
std::optional<int32_t> Tokenizer::pad_id() const {
  return impl_->pad;
}
std::optional<int32_t> Tokenizer::unk_id() const {
  return impl_->unk;
}
const std::vector<int32_t>& Tokenizer::prefix_ids() const {
  return impl_->prefix;
}
const std::vector<int32_t>& Tokenizer::suffix_ids() const {
  return impl_->suffix;
}
const std::string& Tokenizer::chat_template() const {
  return impl_->chat_template;
}

void Tokenizer::save(const std::filesystem::path& directory) const {
  for (const File& file : impl_->files) runtime::io::write_file_atomically(directory / file.name, file.contents);
}

std::vector<std::string> Tokenizer::files() const {
  std::vector<std::string> names;
  for (const File& file : impl_->files) names.push_back(file.name);
  return names;
}

struct StreamDecoder::State {
  Tokenizer tokenizer;
  bool skip_special_tokens;
  std::unique_ptr<tokenizer::DecodePipeline> pipeline;
};

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
    : state_(new State{tokenizer, skip_special_tokens, tokenizer.impl_->engine->start_decoding()}) {}
StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;

std::string StreamDecoder::push(int32_t id) {
  state_->tokenizer.id_to_token(id);  // throws for an unknown id
  if (state_->skip_special_tokens && state_->tokenizer.is_special(id)) return "";
  return state_->pipeline->push(state_->tokenizer.impl_->engine->decoder_input(id));
}

std::string StreamDecoder::finish() {
  return state_->pipeline->finish();
}

}  // namespace subspect::model
