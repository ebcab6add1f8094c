// What is done with a config's fields: reading them from a document, writing them resolved, documenting them.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/config/document.h"
#include "experiments/config/fields.h"

namespace subspect::experiments {

/// Anything whose fields can be visited: `[&](Fields& f) { config.visit(f); }`.
using VisitFunction = std::function<void(Fields&)>;

struct ReadOptions {
  /// In a study: what `text` of a path field means when it names a model or the output of a stage; nullopt for an
  /// ordinary path. `is_model` tells the two kinds of paths apart; `node` is where it stands.
  std::function<std::optional<Path>(const Node& node, bool is_model)> named_output;
};

/// The path that a scalar stands for: relative to the folder of its source; a model that looks like a hub id and is no
/// folder there stays as it is.
Path resolve_path(const Node& node, bool is_model);

/// Fills in the fields from the mapping `root` (whose `kind` is skipped). Throws UsageError with file and line for an
/// unknown key (naming the nearest known one), a wrong type, a value that breaks its rule, a missing required key.
void read_fields(const Node& root, const VisitFunction& visit, const ReadOptions& options = {});

struct WriteOptions {
  /// Text that stands for a path; by default the resolved path.
  std::function<std::string(const Path& path, bool is_model)> path_text;
  bool skip_cosmetic = false;
};

/// The resolved configuration as a tree, `kind` first when it is not empty.
Node write_fields(std::string_view kind, const VisitFunction& visit, const WriteOptions& options = {});

/// The numbers that a rule allows: ">= 0 and < 1"; empty when it allows all.
std::string range_text(const Rule& rule);

/// A YAML with every key, its documentation, type and default. @param visit_new visits a new config with its defaults;
/// called twice.
std::string document_fields(std::string_view kind, const VisitFunction& visit_new);

/// Reads a config struct from YAML text, for tests and programs: relative paths start from `folder`.
template <class Config>
Config config_from_yaml(std::string_view yaml, const std::filesystem::path& folder = {}) {
  Config config;
  read_fields(parse_document(yaml, "configuration", folder), [&](Fields& f) { config.visit(f); });
  return config;
}

template <class Config>
std::string config_to_yaml(Config& config, std::string_view kind = {}) {
  return write_yaml(write_fields(kind, [&](Fields& f) { config.visit(f); }));
}

}  // namespace subspect::experiments
