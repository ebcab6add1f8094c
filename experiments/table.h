// Table: the rows an experiment produces. Rows are kept as they come (a journal that survives a kill) and written as
// CSV and JSON; plots and reports are made from these rows, never from parsed text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace subspect::runtime::io {
class AppendFile;
}

namespace subspect::experiments {

/// Empty, an integer, a number or text. NaN and infinities are empty: a value that is undefined has no cell.
class Cell {
 public:
  Cell() = default;
  template <class T>
  requires std::is_integral_v<T> Cell(T value) : value_(static_cast<int64_t>(value)) {}
  Cell(double value);
  Cell(float value) : Cell(static_cast<double>(value)) {}
  Cell(std::string value) : value_(std::move(value)) {}
  Cell(std::string_view value) : value_(std::string(value)) {}
  Cell(const char* value) : value_(std::string(value)) {}

  bool empty() const { return std::holds_alternative<std::monostate>(value_); }
  bool is_text() const { return std::holds_alternative<std::string>(value_); }
  bool is_number() const { return !empty() && !is_text(); }
  /// The number; NaN when empty or text.
  double number() const;
  /// As CSV shows it before quoting: the shortest text that reads back to the same double; "" when empty.
  std::string text() const;
  const std::variant<std::monostate, int64_t, double, std::string>& value() const { return value_; }
  bool operator==(const Cell&) const = default;

 private:
  std::variant<std::monostate, int64_t, double, std::string> value_;
};

using Row = std::vector<Cell>;  ///< one cell per column, in the order of the columns

/// Cells by column name; columns not named are empty.
using NamedCells = std::vector<std::pair<std::string, Cell>>;

class Table {
 public:
  /// In memory only.
  explicit Table(std::vector<std::string> columns);

  /// The table `directory/name.csv` and `.json`. Rows of an earlier, interrupted run are read back from the journal
  /// `directory/state/name.rows.jsonl` (a torn last line is dropped). Throws Error when the journal has other columns.
  Table(const std::filesystem::path& directory, std::string name, std::vector<std::string> columns);
  ~Table();
  Table(Table&&) noexcept;
  Table& operator=(Table&&) noexcept;

  /// Reads a table back from its CSV (numbers become numbers, empty cells empty).
  static Table read_csv(const std::filesystem::path& file);

  const std::string& name() const { return name_; }
  const std::vector<std::string>& columns() const { return columns_; }
  const std::vector<Row>& rows() const { return rows_; }
  size_t size() const { return rows_.size(); }

  /// Appends and persists one row (in the journal). Throws when the number of cells or a column name is wrong.
  void append(Row row);
  void append(const NamedCells& cells);

  /// The first row whose cells equal all the given ones; nullptr when there is none. For resuming.
  const Row* find(const NamedCells& keys) const;
  bool contains(const NamedCells& keys) const { return find(keys) != nullptr; }
  /// Column index; throws Error when there is no such column.
  size_t column(std::string_view name) const;
  const Cell& cell(const Row& row, std::string_view column_name) const { return row[column(column_name)]; }

  /// Replaces the CSV and the JSON by the rows so far (atomically). Call after each batch of rows and at the end.
  void write() const;

  std::string to_csv() const;   ///< RFC 4180 with a header row, "\n" line ends
  std::string to_json() const;  ///< a list of objects, keys in the order of the columns; empty = null

 private:
  Row arrange(const NamedCells& cells) const;
  void load_journal(const std::filesystem::path& journal);

  std::filesystem::path directory_;
  std::string name_;
  std::vector<std::string> columns_;
  std::vector<Row> rows_;
  std::unique_ptr<runtime::io::AppendFile> journal_;
};

}  // namespace subspect::experiments
