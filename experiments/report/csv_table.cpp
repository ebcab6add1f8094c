// Tables of a run directory, read cell by cell.
#include "experiments/report/csv_table.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>

#include "experiments/data/csv.h"
#include "runtime/error.h"

namespace subspect::experiments::report {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

}  // namespace

double parse_number(std::string_view text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  return result.ec == std::errc() && result.ptr == end && !text.empty() ? value : nan;
}

CsvTable::CsvTable(std::vector<std::string> columns, std::vector<std::vector<std::string>> rows)
    : columns_(std::move(columns)), cells_(std::move(rows)) {
  for (const auto& row : cells_) {
    runtime::require(row.size() == columns_.size(), "CsvTable", "a row has {} cells. Received {}.", columns_.size(),
                     row.size());
  }
}

CsvTable CsvTable::read(const std::filesystem::path& path) {
  CsvReader reader(path);
  CsvTable table;
  std::vector<std::string> row;
  if (reader.next(row)) table.columns_ = row;
  while (reader.next(row)) {
    if (row.size() != table.columns_.size()) {
      throw runtime::Error(fmt::format("a row has {} cells where the header has {}", row.size(), table.columns_.size()),
                           fmt::format("{}:{}", path.string(), reader.line()),
                           "make the table again, or repair this row");
    }
    table.cells_.push_back(row);
  }
  return table;
}

std::optional<size_t> CsvTable::find(std::string_view name) const {
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i] == name) return i;
  }
  return std::nullopt;
}

const std::string& CsvTable::text(int64_t row, std::string_view name) const {
  static const std::string empty;
  const auto column = find(name);
  return column ? text(row, *column) : empty;
}

double CsvTable::number(int64_t row, size_t column) const {
  return parse_number(text(row, column));
}

double CsvTable::number(int64_t row, std::string_view name) const {
  return parse_number(text(row, name));
}

bool CsvTable::is_numeric(size_t column) const {
  bool any = false;
  for (const auto& row : cells_) {
    if (row[column].empty()) continue;
    if (std::isnan(parse_number(row[column])) && row[column] != "nan") return false;
    any = true;
  }
  return any;
}

}  // namespace subspect::experiments::report
