// From table cells to typed rows.
#include "experiments/report/rows.h"

#include <cctype>

#include "experiments/report/run_files.h"
#include "experiments/report/support.h"

namespace subspect::experiments::report {

namespace {

/// The column that holds the utility: the flexible GSM8K score, or whatever stands in for it.
std::string utility_column(const CsvTable& table) {
  for (const char* name : {"gsm8k_flexible", "utility", "gsm8k_strict"}) {
    if (table.find(name)) return name;
  }
  return "gsm8k_flexible";
}

/// Of a table's column `side`, which earlier versions did not write; the claims are about left subspaces.
bool is_left(const std::string& side) {
  return side.empty() || side == "none" || side == "left";
}

}  // namespace

Interval interval_of(const CsvTable& table, int64_t row, const std::string& name) {
  const std::string prefix = name.empty() ? "" : name + "_";
  return {table.number(row, prefix + "low"), table.number(row, prefix + "high")};
}

std::vector<std::string> score_columns(const CsvTable& table) {
  std::vector<std::string> names;
  for (const std::string& name : table.columns()) {
    if (!table.find(name + "_low") || !table.find(name + "_high")) continue;
    if (name == "gsm8k_strict" && table.find("gsm8k_flexible")) continue;
    names.push_back(name);
  }
  return names;
}

std::string formed_name(const CsvTable& table, int64_t row) {
  std::string name = table.text(row, "model");
  for (const char* column : {"mode", "group", "rule", "setting"}) {
    const std::string& text = table.text(row, column);
    if (!text.empty() && text != "none") name += "-" + text;
  }
  return name;
}

Role role_of(std::string_view name) {
  std::string lower(name);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const auto has = [&](const char* part) { return lower.find(part) != std::string::npos; };
  if (has("contam")) return Role::contaminated;
  if (has("harmless")) return Role::other;
  if (has("harm")) return Role::harmful;
  if (has("useful") || has("pure")) return Role::useful;
  if (has("align") || has("instruct")) return Role::aligned;
  if (has("base")) return Role::base;
  return Role::other;
}

std::vector<ProjectionRow> projection_rows(const CsvTable& table) {
  const std::string utility = utility_column(table);
  std::vector<ProjectionRow> rows;
  for (int64_t i = 0; i < table.rows(); ++i) {
    const std::string& side = table.text(i, "side");
    const std::string basis = table.text(i, "basis") + (is_left(side) ? "" : "/" + side);
    rows.push_back({table.text(i, "model"), basis, table.text(i, "mode"), table.number(i, "fraction"),
                    table.number(i, "energy_kept"), table.number(i, utility), table.number(i, "harmfulness")});
  }
  return rows;
}

std::vector<OverlapRow> overlap_rows(const CsvTable& table) {
  std::vector<OverlapRow> rows;
  for (int64_t i = 0; i < table.rows(); ++i) {
    if (!is_left(table.text(i, "side"))) continue;
    rows.push_back({table.text(i, "pair"), table.text(i, "group"), table.text(i, "granularity"),
                    table.number(i, "energy"), table.number(i, "mso"), table.number(i, "mso_random"),
                    table.number(i, "mso_random_high")});
  }
  return rows;
}

std::vector<ActivationRow> activation_rows(const CsvTable& table) {
  std::vector<ActivationRow> rows;
  for (int64_t i = 0; i < table.rows(); ++i) {
    rows.push_back({table.text(i, "model"), table.number(i, "layer"), table.number(i, "energy"), table.number(i, "mso"),
                    table.number(i, "mso_random"), table.number(i, "mso_control"), table.number(i, "mso_halves"),
                    interval_of(table, i, "mso"), interval_of(table, i, "mso_random"),
                    interval_of(table, i, "mso_control"), interval_of(table, i, "mso_halves")});
  }
  return rows;
}

std::vector<ScoreRow> score_rows(const CsvTable& table) {
  std::vector<ScoreRow> rows;
  for (int64_t i = 0; i < table.rows(); ++i) {
    rows.push_back({table.text(i, "model"), table.text(i, "task"), table.text(i, "metric"), table.number(i, "value"),
                    table.number(i, "stderr"), interval_of(table, i, ""), table.number(i, "n")});
  }
  return rows;
}

std::vector<ProbeRow> probe_rows(const CsvTable& table) {
  std::vector<ProbeRow> rows;
  for (int64_t i = 0; i < table.rows(); ++i) {
    rows.push_back({table.text(i, "model"), table.number(i, "layer"), table.text(i, "method"),
                    table.number(i, "accuracy"), interval_of(table, i, "accuracy")});
  }
  return rows;
}

std::vector<AngleRow> angle_rows(const CsvTable& table) {
  std::vector<AngleRow> rows;
  for (int64_t i = 0; i < table.rows(); ++i) {
    if (!is_left(table.text(i, "side"))) continue;
    rows.push_back({table.text(i, "pair"), table.text(i, "group"), table.text(i, "granularity"),
                    table.number(i, "energy"), table.number(i, "index"), table.number(i, "cosine"),
                    table.number(i, "cosine_random"), interval_of(table, i, "cosine_random")});
  }
  return rows;
}

std::vector<CellRow> cell_rows(const CsvTable& table) {
  std::string utility, harmfulness;
  for (const std::string& column : table.columns()) {
    if (utility.empty() && is_utility(column)) utility = column;
    if (harmfulness.empty() && is_harmfulness(column)) harmfulness = column;
  }
  std::vector<CellRow> rows;
  for (int64_t i = 0; i < table.rows(); ++i) {
    rows.push_back({table.text(i, "model"), table.text(i, "basis"), table.text(i, "mode"), table.number(i, "fraction"),
                    table.number(i, "energy_kept"), table.number(i, utility), table.number(i, harmfulness),
                    interval_of(table, i, "energy"), interval_of(table, i, utility),
                    interval_of(table, i, harmfulness)});
  }
  return rows;
}

std::vector<ComparisonRow> comparison_rows(const CsvTable& table) {
  std::vector<ComparisonRow> rows;
  for (int64_t i = 0; i < table.rows(); ++i) {
    rows.push_back({table.text(i, "family"), table.text(i, "metric"), table.text(i, "model"), table.text(i, "basis"),
                    table.text(i, "mode"), table.number(i, "fraction"), table.text(i, "against"), table.number(i, "n"),
                    table.number(i, "difference"), interval_of(table, i, ""), table.number(i, "p_holm"),
                    table.number(i, "detectable")});
  }
  return rows;
}

std::vector<TrendRow> trend_rows(const CsvTable& table) {
  std::vector<TrendRow> rows;
  for (int64_t i = 0; i < table.rows(); ++i) {
    if (is_left(table.text(i, "side"))) {
      rows.push_back(
          {table.text(i, "model"), table.text(i, "metric"), table.number(i, "value"), interval_of(table, i, "")});
    }
  }
  return rows;
}

ProjectionTables projection_tables(const RunFiles& run) {
  ProjectionTables tables;
  if (run.results) tables.rows = projection_rows(*run.results);
  if (const CsvTable* cells = run.other("cells.csv")) tables.cells = cell_rows(*cells);
  if (const CsvTable* comparisons = run.other("comparisons.csv")) tables.comparisons = comparison_rows(*comparisons);
  if (const CsvTable* trends = run.other("trends.csv")) tables.trends = trend_rows(*trends);
  return tables;
}

std::vector<SpectrumRow> spectrum_rows(const CsvTable& table) {
  std::vector<SpectrumRow> rows;
  for (int64_t i = 0; i < table.rows(); ++i) {
    rows.push_back({table.text(i, "model"), table.text(i, "group"), table.number(i, "index"),
                    table.number(i, "singular_value"), table.number(i, "energy_cumulative")});
  }
  return rows;
}

}  // namespace subspect::experiments::report
