// Document: a configuration as a tree of nodes that remember the file and line they came from. Loading parses YAML,
// merges `extends`, expands ${ENV} and applies overrides; what the keys mean is decided by the reader.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace subspect::experiments {

/// Where nodes come from: shown in errors, and the folder that relative paths start from.
struct Source {
  std::string name;              ///< "study.yaml"
  std::filesystem::path folder;  ///< absolute
};

struct Node {
  enum class Kind { null, scalar, sequence, mapping };

  Kind kind = Kind::null;
  std::string key;             ///< in a mapping: the name of this entry
  std::string text;            ///< of a scalar, ${ENV} expanded
  bool quoted = false;         ///< the scalar was written in quotes: it is a string
  std::vector<Node> children;  ///< items of a sequence, entries of a mapping
  std::shared_ptr<const Source> source;
  int line = 0;      ///< 1-based; 0 where there is none (an override)
  int key_line = 0;  ///< line of the key

  const Node* find(std::string_view name) const;
  Node* find(std::string_view name);

  std::string where() const;      ///< "study.yaml:12"
  std::string where_key() const;  ///< the same for the key's line
  /// "the string \"abc\"", "a list", "a mapping", "nothing": for errors about types.
  std::string description() const;
};

/// Reads `file`. Each override is `a.b=value` or `a.0.b=value`, its value in YAML; relative paths in overrides start
/// from the current directory. Throws UsageError naming file and line for text that is not YAML, duplicate keys, a
/// cycle of `extends`, an undefined ${VARIABLE}, or an override that does not fit.
Node load_document(const std::filesystem::path& file, const std::vector<std::string>& overrides = {});

/// The same for text that is not in a file.
Node parse_document(std::string_view yaml, std::string_view name = "configuration",
                    const std::filesystem::path& folder = {}, const std::vector<std::string>& overrides = {});

/// Writes a tree as YAML: mappings as blocks, short lists of scalars in brackets; what PyYAML reads back the same.
std::string write_yaml(const Node& root);

/// `text` as a YAML scalar, quoted where it would not read back as a string.
std::string quote_yaml(std::string_view text);
/// The same for a key, in which ${NAME} stands for itself.
std::string quote_yaml_key(std::string_view text);

/// The shortest decimal that reads back to `value`, always recognisable as a number with a point ("1.0", "1.0e-05").
std::string format_double(double value);

/// How unquoted YAML text reads (YAML 1.2 core schema).
bool reads_as_null(std::string_view text);
bool reads_as_bool(std::string_view text, bool& value);
bool reads_as_double(std::string_view text, double& value);
bool reads_as_integer(std::string_view text, int64_t& value);

}  // namespace subspect::experiments
