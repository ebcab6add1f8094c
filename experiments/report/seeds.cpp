// Means over seeds.
#include "experiments/report/seeds.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "experiments/statistics/intervals.h"
#include "experiments/statistics/summary.h"

namespace subspect::experiments::report {

namespace {

bool is_key(const std::string& column) {
  for (const char* name : {"fraction", "layer", "energy", "draw", "index", "setting", "coefficient"}) {
    if (column == name) return true;
  }
  return column.starts_with("coefficient_");
}

/// The columns of several tables and what each means.
class Columns {
 public:
  explicit Columns(const std::vector<const CsvTable*>& tables) : table_(*tables.front()) {
    for (size_t c = 0; c < table_.columns().size(); ++c) {
      const bool numeric = std::all_of(tables.begin(), tables.end(), [&](const CsvTable* table) {
        return table->is_numeric(c) || is_empty(*table, c);
      });
      key_.push_back(!numeric || is_key(table_.columns()[c]));
    }
  }

  /// What tells the row from the others.
  std::string row_key(const CsvTable& table, int64_t row) const {
    std::string text;
    for (size_t c = 0; c < key_.size(); ++c) {
      if (key_[c]) text += table.text(row, c) + '\n';
    }
    return text;
  }
  bool is_key_column(size_t column) const { return key_[column]; }

  /// The column whose interval `column` bounds, if any.
  std::optional<size_t> bounded(const std::string& column) const {
    if (column.find("random") != std::string::npos) return std::nullopt;
    if (column == "low" || column == "high") {
      return table_.find("difference") ? table_.find("difference") : table_.find("value");
    }
    for (const char* suffix : {"_low", "_high"}) {
      if (!column.ends_with(suffix)) continue;
      const std::string name = column.substr(0, column.size() - std::string(suffix).size());
      return name == "energy" ? table_.find("energy_kept") : table_.find(name);
    }
    return std::nullopt;
  }

 private:
  static bool is_empty(const CsvTable& table, size_t column) {
    for (int64_t row = 0; row < table.rows(); ++row) {
      if (!table.text(row, column).empty()) return false;
    }
    return true;
  }

  const CsvTable& table_;
  std::vector<bool> key_;
};

std::string cell_text(double value) {
  return std::isfinite(value) ? fmt::format("{}", value) : "";
}

/// The cell over the seeds; `rows` has a row of each table.
std::string cell_over_seeds(const std::vector<const CsvTable*>& tables, const std::vector<int64_t>& rows,
                            const Columns& columns, size_t column) {
  const CsvTable& first = *tables.front();
  if (columns.is_key_column(column)) return first.text(rows.front(), column);
  const std::string& name = first.columns()[column];
  const auto numbers = [&](size_t of) {
    std::vector<double> values;
    for (size_t i = 0; i < tables.size(); ++i) values.push_back(tables[i]->number(rows[i], of));
    return values;
  };
  if (const auto bounded = columns.bounded(name)) {
    const statistics::Interval interval = statistics::student_interval(numbers(*bounded));
    return cell_text(name.ends_with("low") ? interval.low : interval.high);
  }
  return cell_text(name == "p_holm" ? statistics::quantile(numbers(column), 1) : statistics::mean(numbers(column)));
}

using Tables = std::vector<const CsvTable*>;

std::optional<CsvTable> folded(const std::vector<const RunFiles*>& copies, std::optional<CsvTable> RunFiles::*table) {
  Tables tables;
  for (const RunFiles* copy : copies) {
    if (!(copy->*table)) return std::nullopt;
    tables.push_back(&*(copy->*table));
  }
  return mean_over_seeds(tables);
}

RunFiles folded_stage(const std::string& name, const std::vector<const RunFiles*>& copies) {
  RunFiles stage;
  stage.folder = copies.front()->folder;
  stage.name = fmt::format("{}, {} seeds", name, copies.size());
  stage.kind = copies.front()->kind;
  stage.status = copies.front()->status;
  stage.results = folded(copies, &RunFiles::results);
  stage.spectra = folded(copies, &RunFiles::spectra);
  for (const auto& entry : copies.front()->others) {
    Tables tables;
    for (const RunFiles* copy : copies) {
      if (const CsvTable* table = copy->other(entry.first)) tables.push_back(table);
    }
    if (tables.size() == copies.size()) stage.others.emplace_back(entry.first, mean_over_seeds(tables));
  }
  stage.seeds_of = name;
  return stage;
}

}  // namespace

CsvTable mean_over_seeds(const std::vector<const CsvTable*>& tables) {
  const CsvTable& first = *tables.front();
  const Columns columns(tables);
  std::vector<std::map<std::string, int64_t>> places(tables.size());
  for (size_t i = 0; i < tables.size(); ++i) {
    if (tables[i]->columns() != first.columns()) return first;
    for (int64_t row = 0; row < tables[i]->rows(); ++row) places[i][columns.row_key(*tables[i], row)] = row;
  }
  std::vector<std::vector<std::string>> cells;
  for (int64_t row = 0; row < first.rows(); ++row) {
    std::vector<int64_t> rows;
    for (const auto& place : places) {
      const auto found = place.find(columns.row_key(first, row));
      if (found != place.end()) rows.push_back(found->second);
    }
    if (rows.size() != tables.size()) continue;
    std::vector<std::string> line;
    for (size_t c = 0; c < first.columns().size(); ++c) line.push_back(cell_over_seeds(tables, rows, columns, c));
    line.push_back(fmt::format("{}", tables.size()));
    cells.push_back(std::move(line));
  }
  std::vector<std::string> names = first.columns();
  names.emplace_back("seeds");
  return CsvTable(std::move(names), std::move(cells));
}

std::vector<RunFiles> folded_stages(const std::vector<RunFiles>& stages) {
  std::map<std::string, std::vector<const RunFiles*>> copies;
  for (const RunFiles& stage : stages) {
    if (!stage.copy_of.empty() && stage.kind != "finetune") copies[stage.copy_of].push_back(&stage);
  }
  std::vector<RunFiles> result;
  for (const RunFiles& stage : stages) {
    const auto found = copies.find(stage.copy_of);
    if (found == copies.end() || stage.kind == "finetune") {
      result.push_back(stage);
    } else if (found->second.front() == &stage) {
      result.push_back(folded_stage(stage.copy_of, found->second));
    }
  }
  return result;
}

}  // namespace subspect::experiments::report
