// ConfigReader: typed access to a JSON object of a model directory, with errors that name the file and the key.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace subspect::model {

/// A JSON object and where it was read. A key whose value is null counts as absent, as in Transformers.
class ConfigReader {
 public:
  /// Throws Error when the text is no JSON object.
  static ConfigReader parse(const std::string& text, std::string where);
  /// Throws Error when the file cannot be read, or as `parse`.
  static ConfigReader read(const std::filesystem::path& path);

  const std::string& where() const { return where_; }
  /// The whole text that was parsed.
  const std::string& source() const;
  bool has(const std::string& key) const;
  /// True also for a key whose value is null.
  bool contains(const std::string& key) const;

  /// The value of a required key; throws Error when absent or of another type.
  int64_t integer(const std::string& key) const;
  double number(const std::string& key) const;
  std::string text(const std::string& key) const;

  /// The value, or `fallback` when absent; throws Error when of another type.
  int64_t integer_or(const std::string& key, int64_t fallback) const;
  double number_or(const std::string& key, double fallback) const;
  bool boolean_or(const std::string& key, bool fallback) const;
  std::string text_or(const std::string& key, const std::string& fallback) const;

  std::optional<int64_t> maybe_integer(const std::string& key) const;
  std::optional<double> maybe_number(const std::string& key) const;
  /// A nested object; errors inside it name "key.inner".
  std::optional<ConfigReader> maybe_object(const std::string& key) const;

  /// Token ids given as a number, a list of numbers, or absent.
  std::vector<int64_t> ids(const std::string& key) const;
  std::vector<std::string> texts(const std::string& key) const;

  /// Throws Error about one key: `WHAT (FILE: key)`.
  [[noreturn]] void fail(const std::string& key, const std::string& what, const std::string& advice) const;

 private:
  struct Document;
  ConfigReader(std::shared_ptr<const Document> document, const nlohmann::json* object, std::string where,
               std::string prefix);
  const nlohmann::json* find(const std::string& key) const;
  const nlohmann::json& need(const std::string& key) const;

  std::shared_ptr<const Document> document_;  // keeps object_ alive
  const nlohmann::json* object_;
  std::string where_;
  std::string prefix_;
};

}  // namespace subspect::model
