// Reading the parts of tokenizer.json.
#include "model/tokenizer/json_reader.h"

#include <nlohmann/json.hpp>

#include "runtime/error.h"

namespace subspect::model::tokenizer {

using nlohmann::json;
using runtime::Error;

void JsonPart::fail(const std::string& what) const {
  throw Error(what, where, "the file is damaged or not a tokenizer: fetch it again");
}

void JsonPart::unsupported(const std::string& component) const {
  throw Error(fmt::format("unsupported tokenizer component {}", component), where,
              "use a tokenizer of the Llama, Mistral or Qwen families");
}

std::string JsonPart::type() const {
  return at("type").text();
}

bool JsonPart::has(const char* key) const {
  if (!value.is_object()) return false;
  const auto found = value.find(key);
  return found != value.end() && !found->is_null();
}

JsonPart JsonPart::at(const char* key) const {
  if (!value.is_object()) fail("a JSON object is required");
  const auto found = value.find(key);
  if (found == value.end()) fail(fmt::format("\"{}\" is missing", key));
  return {*found, fmt::format("{}.{}", where, key)};
}

JsonPart JsonPart::item(size_t index) const {
  return {value.at(index), fmt::format("{}[{}]", where, index)};
}

size_t JsonPart::size() const {
  if (!value.is_array()) fail("a list is required");
  return value.size();
}

std::string JsonPart::text() const {
  if (!value.is_string()) fail("a text is required");
  return value.get<std::string>();
}

int64_t JsonPart::integer() const {
  if (!value.is_number_integer()) fail(fmt::format("a whole number is required, not {}", value.dump()));
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    fail(fmt::format("{} is out of range", value.dump()));
  }
  return value.get<int64_t>();
}

bool JsonPart::boolean_or(const char* key, bool fallback) const {
  if (!has(key)) return fallback;
  const JsonPart part = at(key);
  if (!part.value.is_boolean()) part.fail("true or false is required");
  return part.value.get<bool>();
}

std::string JsonPart::text_or(const char* key, const std::string& fallback) const {
  return has(key) ? at(key).text() : fallback;
}

}  // namespace subspect::model::tokenizer
