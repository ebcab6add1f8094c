// From table cells to typed rows.
#include "experiments/report/rows.h"

#include <cctype>

namespace subspect::experiments::report {

namespace {

/// The column that holds the utility: the flexible GSM8K score, or whatever stands in for it.
std::string utility_column(const CsvTable& table) {
  for (const char* name : {"gsm8k_flexible", "utility", "gsm8k_strict"}) {
    if (table.find(name)) return name;
  }
  return "gsm8k_flexible";
}

}  // namespace

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
    rows.push_back({table.text(i, "model"), table.text(i, "basis"), table.text(i, "mode"), table.number(i, "fraction"),
                    table.number(i, "energy_kept"), table.number(i, utility), table.number(i, "harmfulness")});
  }
  return rows;
}

std::vector<OverlapRow> overlap_rows(const CsvTable& table) {
  std::vector<OverlapRow> rows;
  for (int64_t i = 0; i < table.rows(); ++i) {
    if (table.text(i, "side") == "right") continue;  // the claims are about left subspaces
    rows.push_back({table.text(i, "pair"), table.text(i, "group"), table.text(i, "granularity"),
                    table.number(i, "energy"), table.number(i, "mso"), table.number(i, "mso_random")});
  }
  return rows;
}

std::vector<ActivationRow> activation_rows(const CsvTable& table) {
  std::vector<ActivationRow> rows;
  for (int64_t i = 0; i < table.rows(); ++i) {
    rows.push_back({table.text(i, "model"), table.number(i, "layer"), table.number(i, "energy"), table.number(i, "mso"),
                    table.number(i, "mso_random"), table.number(i, "mso_control")});
  }
  return rows;
}

std::vector<ScoreRow> score_rows(const CsvTable& table) {
  std::vector<ScoreRow> rows;
  for (int64_t i = 0; i < table.rows(); ++i) {
    rows.push_back({table.text(i, "model"), table.text(i, "task"), table.text(i, "metric"), table.number(i, "value"),
                    table.number(i, "stderr"), table.number(i, "n")});
  }
  return rows;
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
