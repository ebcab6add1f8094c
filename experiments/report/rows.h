// The rows of the experiments' tables, typed, as charts and findings use them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "experiments/report/csv_table.h"

namespace subspect::experiments::report {

/// What a model is in the study, told from its name.
enum class Role { base, aligned, useful, harmful, contaminated, other };

/// "useful-2" -> useful, "pure" -> useful, "contaminated20" -> contaminated, "alignment" -> aligned, ...
Role role_of(std::string_view name);

/// One model or projected model of a projection's results.csv. NaN: not measured.
struct ProjectionRow {
  std::string model;
  std::string basis;  ///< "none": base, aligned and unprojected models
  std::string mode;
  double fraction = 0;
  double energy_kept = 0;
  double utility = 0;      ///< gsm8k_flexible, in [0, 1]
  double harmfulness = 0;  ///< 1 (refuses) to 5 (fulfils)
};

/// One pair, group and energy of an overlap's results.csv.
struct OverlapRow {
  std::string pair;
  std::string group;
  std::string granularity;
  double energy = 0;
  double mso = 0;
  double random = 0;
};

/// One model, layer and energy of an activations' results.csv.
struct ActivationRow {
  std::string model;
  double layer = 0;
  double energy = 0;
  double mso = 0;
  double random = 0;
  double control = 0;
};

/// One measured value of an evaluate's results.csv.
struct ScoreRow {
  std::string model;
  std::string task;
  std::string metric;
  double value = 0;
  double standard_error = 0;
  double count = 0;
};

/// One singular value of spectra.csv.
struct SpectrumRow {
  std::string model;
  std::string group;
  double index = 0;
  double singular_value = 0;
  double energy_cumulative = 0;
};

std::vector<ProjectionRow> projection_rows(const CsvTable& table);
/// Left subspaces alone, which the claims are about; rows of right ones (`side`) stay in the table.
std::vector<OverlapRow> overlap_rows(const CsvTable& table);
std::vector<ActivationRow> activation_rows(const CsvTable& table);
std::vector<ScoreRow> score_rows(const CsvTable& table);
std::vector<SpectrumRow> spectrum_rows(const CsvTable& table);

/// The different values of `field` over the rows, in order of appearance.
template <class Row, class Field>
std::vector<std::string> distinct(const std::vector<Row>& rows, Field field) {
  std::vector<std::string> values;
  for (const Row& row : rows) {
    const std::string& value = field(row);
    bool known = false;
    for (const std::string& each : values) known = known || each == value;
    if (!known) values.push_back(value);
  }
  return values;
}

}  // namespace subspect::experiments::report
