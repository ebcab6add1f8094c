// What a run directory holds, read into memory for the report.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "experiments/report/csv_table.h"

namespace subspect::experiments::report {

/// One column of metrics.jsonl; NaN where a line does not have it.
struct MetricColumn {
  std::string name;
  std::vector<double> values;
};

/// The lines of metrics.jsonl as columns of equal length.
struct Metrics {
  std::vector<MetricColumn> columns;

  int64_t rows() const { return columns.empty() ? 0 : static_cast<int64_t>(columns.front().values.size()); }
  /// The values of column `name`, or nullptr.
  const std::vector<double>* find(std::string_view name) const;
};

/// A run directory. Tables that are absent are empty optionals: a run may be unfinished.
struct RunFiles {
  std::filesystem::path folder;
  std::string name;      ///< of the stage, or of the folder
  std::string kind;      ///< of the experiment, "study", or "" where that is not known
  std::string status;    ///< as environment.json says, or ""
  std::string copy_of;   ///< of a stage that a study's seeds repeat: its name in the study; else ""
  std::string seeds_of;  ///< of a mean over seeds (`folded_stages`): that name; else ""
  std::vector<std::pair<std::string, std::string>> environment;  ///< flattened: "libraries.openblas" -> "0.3.21"
  std::string config;                                            ///< the text of config.yaml
  std::optional<CsvTable> results;
  std::optional<CsvTable> tensors;
  std::optional<CsvTable> spectra;
  std::vector<std::pair<std::string, CsvTable>> others;  ///< further CSV files of the folder, by file name
  Metrics metrics;
  std::vector<RunFiles> stages;  ///< of a study, in the order of environment.json or stages.json, else by name

  /// The value of an environment key, or "".
  std::string environment_value(std::string_view key) const;
  /// One of `others`, or nullptr.
  const CsvTable* other(std::string_view file) const;
};

/// Whether an experiment of this kind forms models in memory and has one row of scores for each, whatever else it does.
bool is_formed(std::string_view kind);

/// Reads the run directory `folder`, and those of its stages if it is a study.
/// @throws runtime::Error if the folder does not exist or a file in it is malformed.
RunFiles read_run(const std::filesystem::path& folder);

}  // namespace subspect::experiments::report
