// Reading of run directories: tables, metrics, configuration and environment.
#include "experiments/report/run_files.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "runtime/io/files.h"

namespace subspect::experiments::report {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

std::string read_text(const fs::path& path) {
  return fs::is_regular_file(path) ? runtime::io::read_file(path) : "";
}

std::optional<CsvTable> read_table(const fs::path& path) {
  if (!fs::is_regular_file(path)) return std::nullopt;
  return CsvTable::read(path);
}

/// The CSV files of the folder that have no name of their own in `RunFiles`, by file name.
std::vector<std::pair<std::string, CsvTable>> read_other_tables(const fs::path& folder) {
  std::vector<std::pair<std::string, CsvTable>> tables;
  if (!fs::is_directory(folder)) return tables;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool known = name == "results.csv" || name == "tensors.csv" || name == "spectra.csv";
    if (entry.path().extension() != ".csv" || known || !entry.is_regular_file()) continue;
    tables.emplace_back(name, CsvTable::read(entry.path()));
  }
  std::sort(tables.begin(), tables.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return tables;
}

/// Adds one line of metrics to the columns; columns that are new get NaN for the lines before.
void append_metrics(Metrics& metrics, const json& line, size_t row) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  for (const auto& item : line.items()) {
    if (!item.value().is_number() && !item.value().is_null()) continue;
    auto column = std::find_if(metrics.columns.begin(), metrics.columns.end(),
                               [&](const MetricColumn& each) { return each.name == item.key(); });
    if (column == metrics.columns.end()) {
      metrics.columns.push_back({item.key(), std::vector<double>(row, nan)});
      column = metrics.columns.end() - 1;
    }
    column->values.resize(row, nan);
    column->values.push_back(item.value().is_null() ? nan : item.value().get<double>());
  }
  for (MetricColumn& column : metrics.columns) column.values.resize(row + 1, nan);
}

/// Reads metrics.jsonl. A last line that was cut off by a kill is left out; any other bad line is an error.
Metrics read_metrics(const fs::path& path) {
  Metrics metrics;
  std::ifstream file(path);
  std::string text;
  size_t row = 0;
  for (int64_t number = 1; std::getline(file, text); ++number) {
    if (text.find_first_not_of(" \r") == std::string::npos) continue;
    const json line = json::parse(text, nullptr, false);
    if (line.is_discarded() && file.eof()) break;
    if (!line.is_object()) {
      throw runtime::Error("a line is no JSON object", fmt::format("{}:{}", path.string(), number),
                           "remove the line, or run the experiment again");
    }
    append_metrics(metrics, line, row++);
  }
  return metrics;
}

json read_environment(const fs::path& path) {
  const std::string text = read_text(path);
  if (text.empty()) return json::object();
  json environment = json::parse(text, nullptr, false);
  if (!environment.is_object()) {
    throw runtime::Error("the environment is no JSON object", path.string(), "run the experiment again to rewrite it");
  }
  return environment;
}

void flatten(const json& value, const std::string& key, std::vector<std::pair<std::string, std::string>>& out) {
  if (value.is_object()) {
    for (const auto& item : value.items())
      flatten(item.value(), key.empty() ? item.key() : key + "." + item.key(), out);
    return;
  }
  const bool structured = value.is_array() && std::any_of(value.begin(), value.end(),
                                                          [](const json& element) { return element.is_structured(); });
  if (structured) {
    for (size_t i = 0; i < value.size(); ++i) flatten(value[i], fmt::format("{}.{}", key, i), out);
    return;
  }
  out.emplace_back(
      key, value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', false, json::error_handler_t::replace));
}

std::string kind_in_config(const std::string& text) {
  try {
    const YAML::Node node = YAML::Load(text);
    return node.IsMap() && node["kind"] ? node["kind"].as<std::string>() : "";
  } catch (const YAML::Exception&) {
    return "";
  }
}

std::string text_of(const json& object, const char* key) {
  if (!object.is_object()) return "";
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

/// A stage of a study: where it is, and what the study says about it.
struct StageEntry {
  std::string name;
  fs::path folder;
  std::string kind;
  std::string status;
  std::string copy_of;
};

/// Folders below stages/ that no entry of `stages` names, by name.
void add_unlisted_stages(const fs::path& parent, std::vector<StageEntry>& stages) {
  std::vector<fs::path> folders;
  if (!fs::is_directory(parent)) return;
  for (const auto& entry : fs::directory_iterator(parent)) {
    if (entry.is_directory()) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  for (const fs::path& folder : folders) {
    const bool known = std::any_of(stages.begin(), stages.end(), [&](const StageEntry& stage) {
      std::error_code failed;
      return fs::equivalent(stage.folder, folder, failed);
    });
    if (!known) stages.push_back({folder.filename().string(), folder, "", "", ""});
  }
}

/// The stages of a study: those environment.json lists, also where they have not begun, then others below stages/.
std::vector<StageEntry> study_stages(const fs::path& folder, const json& environment) {
  std::vector<StageEntry> stages;
  json listed = environment.contains("stages") ? environment["stages"] : json::array();
  if (listed.empty()) listed = json::parse(read_text(folder / "stages.json"), nullptr, false);
  for (const json& stage : listed.is_array() ? listed : json::array()) {
    const std::string name = text_of(stage, "name").empty() ? text_of(stage, "stage") : text_of(stage, "name");
    if (name.empty()) continue;
    const std::string given = text_of(stage, "folder");
    fs::path path = folder / "stages" / fs::path(name).filename();
    if (!given.empty() && !fs::is_directory(path)) path = folder / given;
    stages.push_back({name, path, text_of(stage, "kind"), text_of(stage, "status"), text_of(stage, "copy_of")});
  }
  add_unlisted_stages(folder / "stages", stages);
  return stages;
}

RunFiles read_folder(const fs::path& folder, const std::string& name, bool with_stages) {
  RunFiles run;
  run.folder = folder;
  run.name = name;
  const json environment = read_environment(folder / "environment.json");
  run.config = read_text(folder / "config.yaml");
  run.kind = text_of(environment, "kind");
  if (run.kind.empty()) run.kind = kind_in_config(run.config);
  run.status = text_of(environment, "status");
  json plain = environment;
  plain.erase("stages");
  flatten(plain, "", run.environment);
  run.results = read_table(folder / "results.csv");
  run.tensors = read_table(folder / "tensors.csv");
  run.spectra = read_table(folder / "spectra.csv");
  run.others = read_other_tables(folder);
  run.metrics = read_metrics(folder / "metrics.jsonl");
  if (!with_stages) return run;
  for (const StageEntry& stage : study_stages(folder, environment)) {
    run.stages.push_back(read_folder(stage.folder, stage.name, false));
    RunFiles& read = run.stages.back();
    if (read.kind.empty()) read.kind = stage.kind;
    if (read.status.empty()) read.status = stage.status;
    read.copy_of = stage.copy_of;
  }
  if (run.kind.empty() && !run.stages.empty()) run.kind = "study";
  return run;
}

}  // namespace

const std::vector<double>* Metrics::find(std::string_view name) const {
  for (const MetricColumn& column : columns) {
    if (column.name == name) return &column.values;
  }
  return nullptr;
}

std::string RunFiles::environment_value(std::string_view key) const {
  for (const auto& entry : environment) {
    if (entry.first == key) return entry.second;
  }
  return "";
}

const CsvTable* RunFiles::other(std::string_view file) const {
  for (const auto& entry : others) {
    if (entry.first == file) return &entry.second;
  }
  return nullptr;
}

bool is_formed(std::string_view kind) {
  return kind == "arithmetic" || kind == "ablation" || kind == "defence";
}

RunFiles read_run(const fs::path& folder) {
  if (!fs::is_directory(folder)) {
    throw runtime::Error("there is no such run directory", folder.string(),
                         "give the folder that `subspect run` wrote");
  }
  const fs::path absolute = fs::absolute(folder).lexically_normal();
  const fs::path last = absolute.filename().empty() ? absolute.parent_path().filename() : absolute.filename();
  return read_folder(folder, last.string(), true);
}

}  // namespace subspect::experiments::report
