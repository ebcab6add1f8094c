// The tables of a run directory as the report reads them: comma-separated text with a header (RFC 4180).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace subspect::experiments::report {

/// A table of text cells with named columns. Cells are kept as written; `number` reads them.
class CsvTable {
 public:
  CsvTable() = default;
  /// A table made in memory; every row is as wide as the header.
  CsvTable(std::vector<std::string> columns, std::vector<std::vector<std::string>> rows);

  /// Reads `path`. @throws runtime::Error if it cannot be read, is malformed, or a row's width differs from the
  /// header's.
  static CsvTable read(const std::filesystem::path& path);

  const std::vector<std::string>& columns() const { return columns_; }
  int64_t rows() const { return static_cast<int64_t>(cells_.size()); }

  /// The index of column `name`, if there is one.
  std::optional<size_t> find(std::string_view name) const;

  /// The cell as written.
  const std::string& text(int64_t row, size_t column) const { return cells_[static_cast<size_t>(row)][column]; }
  /// The cell of column `name`, or "" where there is no such column.
  const std::string& text(int64_t row, std::string_view name) const;

  /// The cell as a number; NaN where it is empty, no number, or the column is missing.
  double number(int64_t row, size_t column) const;
  double number(int64_t row, std::string_view name) const;

  /// Whether every filled cell of the column is a number and at least one is filled.
  bool is_numeric(size_t column) const;

 private:
  std::vector<std::string> columns_;
  std::vector<std::vector<std::string>> cells_;
};

/// `text` as a number, NaN unless all of it is one.
double parse_number(std::string_view text);

}  // namespace subspect::experiments::report
