// The rows of the experiments' tables, typed, as charts and findings use them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "experiments/report/csv_table.h"
#include "experiments/statistics/intervals.h"

namespace subspect::experiments::report {

struct RunFiles;
using statistics::Interval;

/// What a model is in the study, told from its name.
enum class Role { base, aligned, useful, harmful, contaminated, other };

/// "useful-2" -> useful, "pure" -> useful, "contaminated20" -> contaminated, "alignment" -> aligned, ...
Role role_of(std::string_view name);

/// One model or projected model of a projection's results.csv. NaN: not measured.
struct ProjectionRow {
  std::string model;
  std::string basis;  ///< "none": base, aligned and unprojected models; BASIS/SIDE on another side than the left
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
  double random_high = 0;  ///< 97.5 % of random subspaces share less; NaN in older tables
};

/// One model, layer and energy of an activations' results.csv.
struct ActivationRow {
  std::string model;
  double layer = 0;
  double energy = 0;
  double mso = 0;
  double random = 0;
  double control = 0;
  double halves = 0;  ///< as many prompts as the control compares; NaN: not measured
  Interval interval, random_interval, control_interval, halves_interval;
};

/// One model, layer and method of an activations' probes.csv.
struct ProbeRow {
  std::string model;
  double layer = 0;
  std::string method;
  double accuracy = 0;
  Interval interval;
};

/// One principal angle of an overlap's angles.csv, left sides alone.
struct AngleRow {
  std::string pair;
  std::string group;
  std::string granularity;
  double energy = 0;
  double index = 0;  ///< from 1
  double cosine = 0;
  double random = 0;
  Interval random_interval;
};

/// One cell of a projection's cells.csv: the mean over the draws.
struct CellRow {
  std::string model;
  std::string basis;
  std::string mode;
  double fraction = 0;
  double energy_kept = 0;
  double utility = 0;
  double harmfulness = 0;
  Interval energy, utility_interval, harmfulness_interval;
};

/// One row of comparisons.csv, of an evaluation or a projection.
struct ComparisonRow {
  std::string family;
  std::string metric;
  std::string model;
  std::string basis;
  std::string mode;
  double fraction = 0;
  std::string against;
  double n = 0;
  double difference = 0;  ///< model - against
  Interval interval;
  double p_holm = 0;
  double detectable = 0;
};

/// One row of a projection's trends.csv, of left subspaces.
struct TrendRow {
  std::string model;
  std::string metric;
  double value = 0;
  Interval interval;
};

/// All tables of a projection that claims and charts are made of; those that it has not written are empty.
struct ProjectionTables {
  std::vector<ProjectionRow> rows;
  std::vector<CellRow> cells;
  std::vector<ComparisonRow> comparisons;
  std::vector<TrendRow> trends;
};

/// One measured value of an evaluate's results.csv.
struct ScoreRow {
  std::string model;
  std::string task;
  std::string metric;
  double value = 0;
  double standard_error = 0;
  Interval interval;
  double count = 0;
};

/// One score of a steering's results.csv.
struct SteeringCell {
  std::string metric;
  std::string action;   ///< what was done with a direction, "unsteered" for nothing
  bool random = false;  ///< the mean over random directions; else the difference of means
  double value = 0;
  Interval interval;  ///< over prompts; of random directions the lowest and the highest
  int64_t draws = 0;  ///< of random directions
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
std::vector<ProbeRow> probe_rows(const CsvTable& table);
std::vector<AngleRow> angle_rows(const CsvTable& table);
std::vector<CellRow> cell_rows(const CsvTable& table);
std::vector<SteeringCell> steering_cells(const CsvTable& table);
std::vector<ComparisonRow> comparison_rows(const CsvTable& table);
std::vector<TrendRow> trend_rows(const CsvTable& table);
ProjectionTables projection_tables(const RunFiles& run);

/// The cells NAME_low and NAME_high; low and high for an empty name.
Interval interval_of(const CsvTable& table, int64_t row, const std::string& name);

/// A score of a table of formed models: a column that NAME_low and NAME_high stand beside.
/// Of GSM8K's two filters the flexible one alone.
std::vector<std::string> score_columns(const CsvTable& table);
/// What comparisons.csv calls the model of a row: its columns model, mode, group, rule and setting.
std::string formed_name(const CsvTable& table, int64_t row);

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
