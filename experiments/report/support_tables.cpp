// Tables of scores, differences and power.
#include "experiments/report/support_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "experiments/report/markup.h"
#include "experiments/report/page.h"
#include "experiments/report/rows.h"
#include "experiments/report/support.h"
#include "experiments/statistics/summary.h"

namespace subspect::experiments::report {

namespace {

std::string with_interval(double value, const Interval& interval) {
  if (!std::isfinite(value)) return "";
  if (!is_known(interval)) return format_fixed(value, 2);
  return fmt::format("{} ({} to {})", format_fixed(value, 2), format_fixed(interval.low, 2),
                     format_fixed(interval.high, 2));
}

/// Utility and harmfulness of every row of a table of formed models.
std::vector<std::vector<std::string>> formed_scores(const CsvTable& table) {
  std::string utility, harmfulness;
  for (const std::string& column : score_columns(table)) {
    if (is_utility(column)) utility = column;
    if (is_harmfulness(column)) harmfulness = column;
  }
  std::vector<std::vector<std::string>> rows;
  for (int64_t row = 0; row < table.rows(); ++row) {
    rows.push_back({formed_name(table, row),
                    with_interval(table.number(row, utility), interval_of(table, row, utility)),
                    with_interval(table.number(row, harmfulness), interval_of(table, row, harmfulness))});
  }
  return rows;
}

/// The unprojected models of a projection, or all of an evaluation: utility and harmfulness with intervals.
CsvTable score_table(const RunFiles& run) {
  std::vector<std::vector<std::string>> rows;
  if (run.results && is_formed(run.kind)) {
    rows = formed_scores(*run.results);
  } else if (run.kind == "projection") {
    for (const CellRow& cell : projection_tables(run).cells) {
      if (cell.basis != "none") continue;
      rows.push_back({cell.model, with_interval(cell.utility, cell.utility_interval),
                      with_interval(cell.harmfulness, cell.harmfulness_interval)});
    }
  } else if (run.results && run.kind == "steering") {
    for (const SteeringCell& cell : steering_cells(*run.results)) {
      const std::string name = cell.action + (cell.random ? ", random directions" : "");
      auto row = std::find_if(rows.begin(), rows.end(), [&](const auto& each) { return each[0] == name; });
      if (row == rows.end()) row = rows.insert(rows.end(), {name, "", ""});
      if (is_utility(cell.metric)) (*row)[1] = with_interval(cell.value, cell.interval);
      if (is_harmfulness(cell.metric)) (*row)[2] = with_interval(cell.value, cell.interval);
    }
  } else if (run.results) {
    std::vector<std::string> models;
    std::map<std::string, std::pair<std::string, std::string>> scores;
    for (const ScoreRow& row : score_rows(*run.results)) {
      if (scores.count(row.model) == 0) models.push_back(row.model);
      auto& [utility, harmfulness] = scores[row.model];
      if (is_utility(row.metric)) utility = with_interval(row.value, row.interval);
      if (is_harmfulness(row.metric)) harmfulness = with_interval(row.value, row.interval);
    }
    for (const std::string& model : models) rows.push_back({model, scores[model].first, scores[model].second});
  }
  return CsvTable({"model", "utility (95 %)", "harmfulness (95 %)"}, std::move(rows));
}

std::string family_words(const std::string& family) {
  if (family == "models") return "between unprojected models";
  if (family == "aligned") return "against aligned";
  if (family == "unprojected") return "against the unchanged model";
  if (family == "bases") return "between bases, same fraction";
  if (family == "steered") return "steered against unsteered";
  if (family == "random") return "random directions against unsteered";
  if (family == "against_random") return "steered against random directions";
  if (family == "equal_energy") return "between bases, equal energy";
  return family;
}

/// By family and metric: how many differences stand after the correction, and what could have been seen.
CsvTable support_table(const std::vector<ComparisonRow>& comparisons) {
  std::vector<std::pair<std::string, std::string>> order;
  std::map<std::pair<std::string, std::string>, std::vector<const ComparisonRow*>> families;
  for (const ComparisonRow& row : comparisons) {
    const auto key = std::pair(row.family, row.metric);
    if (families.count(key) == 0) order.push_back(key);
    families[key].push_back(&row);
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& key : order) {
    std::vector<double> prompts, detectable;
    int64_t supported = 0;
    for (const ComparisonRow* row : families[key]) {
      prompts.push_back(row->n);
      supported += row->p_holm <= significance_level ? 1 : 0;
      if (row->detectable > 0) detectable.push_back(row->detectable);
    }
    const auto all = static_cast<int64_t>(families[key].size());
    rows.push_back({family_words(key.first), key.second, fmt::format("{}", all), fmt::format("{}", supported),
                    fmt::format("{}", all - supported), fmt::format("{:.0f}", statistics::quantile(prompts, 0)),
                    detectable.empty() ? "" : fmt::format("{:.2g}", statistics::quantile(detectable, 0.5))});
  }
  return CsvTable({"differences", "metric", "tested", "supported", "not supported", "prompts", "detectable"},
                  std::move(rows));
}

}  // namespace

std::string support_html(const RunFiles& run) {
  const CsvTable* comparisons = run.other("comparisons.csv");
  if (comparisons == nullptr || comparisons->rows() == 0) return "";
  return "<h3>Scores with their intervals</h3>\n" + table_html(score_table(run), "Scores with their intervals", "") +
         "<h3>Which differences these data support</h3>\n"
         "<p>Each difference is paired over the same prompts and tested by sign flips (for shares of right answers: "
         "McNemar’s exact test), corrected by Holm’s method within its row at the level of 5 %. What is not supported "
         "by these data may still be there: the last column says how large a difference a single test would have found "
         "with a chance of 80 % (median of the row).</p>\n" +
         table_html(support_table(comparison_rows(*comparisons)), "Differences that are supported", "");
}

}  // namespace subspect::experiments::report
