// Reading the parts of tokenizer.json with errors that name the component and the file.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace subspect::model::tokenizer {

/// One JSON object of a tokenizer file, and where it stands ("FILE: pre_tokenizer").
struct JsonPart {
  const nlohmann::json& value;
  std::string where;

  /// Throws Error (WHERE) with the advice to fetch the file again.
  [[noreturn]] void fail(const std::string& what) const;
  /// Throws Error that this component is not supported.
  [[noreturn]] void unsupported(const std::string& component) const;

  /// The value of "type".
  std::string type() const;
  bool has(const char* key) const;  ///< present and not null
  /// The member, or an error that it is missing.
  JsonPart at(const char* key) const;
  /// The i-th element of a list.
  JsonPart item(size_t index) const;
  size_t size() const;

  std::string text() const;
  int64_t integer() const;
  bool boolean_or(const char* key, bool fallback) const;
  std::string text_or(const char* key, const std::string& fallback) const;
};

}  // namespace subspect::model::tokenizer
