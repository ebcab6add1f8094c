// Typed access to the JSON files of a model directory.
#include "model/config_reader.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "runtime/error.h"
#include "runtime/io/json.h"

namespace subspect::model {

using nlohmann::json;
using runtime::Error;

namespace {

int64_t as_integer(const json& value, const ConfigReader& reader, const std::string& key) {
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    reader.fail(key, fmt::format("{} is out of range", value.dump()), "correct the file");
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  // Some exporters write 32.0.
  if (value.is_number_float()) {
    const auto number = value.get<double>();
    if (std::floor(number) == number && std::abs(number) < 0x1p53) return static_cast<int64_t>(number);
  }
  reader.fail(key, fmt::format("a whole number is required, not {}", value.dump()), "correct the file");
}

double as_number(const json& value, const ConfigReader& reader, const std::string& key) {
  if (!value.is_number()) {
    reader.fail(key, fmt::format("a number is required, not {}", value.dump()), "correct the file");
  }
  return value.get<double>();
}

std::string as_text(const json& value, const ConfigReader& reader, const std::string& key) {
  if (!value.is_string()) reader.fail(key, fmt::format("text is required, not {}", value.dump()), "correct the file");
  return value.get<std::string>();
}

}  // namespace

struct ConfigReader::Document {
  std::string text;
  json root;
};

ConfigReader::ConfigReader(std::shared_ptr<const Document> document, const json* object, std::string where,
                           std::string prefix)
    : document_(std::move(document)), object_(object), where_(std::move(where)), prefix_(std::move(prefix)) {}

ConfigReader ConfigReader::parse(const std::string& text, std::string where) {
  const auto document = std::make_shared<Document>();
  document->text = text;
  document->root = runtime::io::parse_json_object(text, where);
  return {document, &document->root, std::move(where), ""};
}

ConfigReader ConfigReader::read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  if (!file || file.bad()) {
    throw Error("cannot read the file", path.string(), "give a Hugging Face model directory that holds it");
  }
  return parse(text.str(), path.string());
}

const std::string& ConfigReader::source() const {
  return document_->text;
}

const json* ConfigReader::find(const std::string& key) const {
  const auto found = object_->find(key);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

const json& ConfigReader::need(const std::string& key) const {
  const json* value = find(key);
  if (value == nullptr) fail(key, "a required key is missing", "complete the file");
  return *value;
}

bool ConfigReader::has(const std::string& key) const {
  return find(key) != nullptr;
}

bool ConfigReader::contains(const std::string& key) const {
  return object_->contains(key);
}

int64_t ConfigReader::integer(const std::string& key) const {
  return as_integer(need(key), *this, key);
}

double ConfigReader::number(const std::string& key) const {
  return as_number(need(key), *this, key);
}

std::string ConfigReader::text(const std::string& key) const {
  return as_text(need(key), *this, key);
}

int64_t ConfigReader::integer_or(const std::string& key, int64_t fallback) const {
  return has(key) ? integer(key) : fallback;
}

double ConfigReader::number_or(const std::string& key, double fallback) const {
  return has(key) ? number(key) : fallback;
}

bool ConfigReader::boolean_or(const std::string& key, bool fallback) const {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) {
    fail(key, fmt::format("true or false is required, not {}", value->dump()), "correct the file");
  }
  return value->get<bool>();
}

std::string ConfigReader::text_or(const std::string& key, const std::string& fallback) const {
  return has(key) ? text(key) : fallback;
}

std::optional<int64_t> ConfigReader::maybe_integer(const std::string& key) const {
  return has(key) ? std::optional(integer(key)) : std::nullopt;
}

std::optional<double> ConfigReader::maybe_number(const std::string& key) const {
  return has(key) ? std::optional(number(key)) : std::nullopt;
}

std::optional<ConfigReader> ConfigReader::maybe_object(const std::string& key) const {
  const json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) fail(key, fmt::format("an object is required, not {}", value->dump()), "correct the file");
  return ConfigReader(document_, value, where_, prefix_ + key + ".");
}

std::vector<int64_t> ConfigReader::ids(const std::string& key) const {
  const json* value = find(key);
  std::vector<int64_t> result;
  if (value == nullptr) return result;
  if (!value->is_array()) return {as_integer(*value, *this, key)};
  for (const json& item : *value) result.push_back(as_integer(item, *this, key));
  return result;
}

std::vector<std::string> ConfigReader::texts(const std::string& key) const {
  const json* value = find(key);
  std::vector<std::string> result;
  if (value == nullptr) return result;
  if (!value->is_array()) fail(key, fmt::format("a list is required, not {}", value->dump()), "correct the file");
  for (const json& item : *value) result.push_back(as_text(item, *this, key));
  return result;
}

void ConfigReader::fail(const std::string& key, const std::string& what, const std::string& advice) const {
  throw Error(what, fmt::format("{}: {}{}", where_, prefix_, key), advice);
}

}  // namespace subspect::model
