// Tables: rows in memory, a journal of JSON lines that survives a kill, CSV and JSON written whole.
#include "experiments/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "experiments/config/document.h"
#include "runtime/error.h"
#include "runtime/io/files.h"

namespace subspect::experiments {

using Json = nlohmann::ordered_json;
using runtime::Error;

namespace {

Json to_json_value(const Cell& cell) {
  return std::visit(
      [](const auto& value) -> Json {
        if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::monostate>)
          return nullptr;
        else
          return value;
      },
      cell.value());
}

Cell from_json_value(const Json& value) {
  if (value.is_number_integer()) return Cell(value.get<int64_t>());
  if (value.is_number()) return Cell(value.get<double>());
  if (value.is_string()) return Cell(value.get<std::string>());
  return {};
}

/// JSON on one line; bytes that are not UTF-8 become U+FFFD.
std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string quote_csv(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

/// Fields of RFC 4180 text, record by record.
std::vector<std::vector<std::string>> parse_csv(const std::string& text) {
  std::vector<std::vector<std::string>> records;
  std::vector<std::string> record;
  std::string field;
  bool quoted = false;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (quoted) {
      const bool closes = c == '"' && (at + 1 >= text.size() || text[at + 1] != '"');
      if (closes)
        quoted = false;
      else
        field += c;
      if (c == '"' && !closes) ++at;
    } else if (c == '"') {
      quoted = true;
    } else if (c == ',' || c == '\n') {
      record.push_back(std::move(field));
      field.clear();
      if (c == '\n') records.push_back(std::exchange(record, {}));
    } else if (c != '\r') {
      field += c;
    }
  }
  if (!field.empty() || !record.empty()) {
    record.push_back(std::move(field));
    records.push_back(std::move(record));
  }
  return records;
}

Cell read_cell(const std::string& text) {
  int64_t integer = 0;
  double number = 0;
  if (text.empty()) return {};
  if (text.find_first_of(".eE") == std::string::npos && reads_as_integer(text, integer)) return Cell(integer);
  if (reads_as_double(text, number)) return Cell(number);
  return Cell(text);
}

bool same_value(const Cell& a, const Cell& b) {
  return a == b || (a.is_number() && b.is_number() && a.number() == b.number());
}

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ",") + word;
  return text;
}

}  // namespace

Cell::Cell(double value) {
  if (std::isfinite(value)) value_ = value;
}

double Cell::number() const {
  if (const auto* integer = std::get_if<int64_t>(&value_)) return static_cast<double>(*integer);
  if (const auto* real = std::get_if<double>(&value_)) return *real;
  return std::numeric_limits<double>::quiet_NaN();
}

std::string Cell::text() const {
  if (const auto* integer = std::get_if<int64_t>(&value_)) return std::to_string(*integer);
  if (const auto* real = std::get_if<double>(&value_)) return fmt::format("{}", *real);
  if (const auto* words = std::get_if<std::string>(&value_)) return *words;
  return {};
}

Table::Table(std::vector<std::string> columns) : columns_(std::move(columns)) {}

Table::Table(const std::filesystem::path& directory, std::string name, std::vector<std::string> columns)
    : directory_(directory), name_(std::move(name)), columns_(std::move(columns)) {
  const std::filesystem::path journal = directory_ / "state" / (name_ + ".rows.jsonl");
  load_journal(journal);
}

Table::~Table() = default;
Table::Table(Table&&) noexcept = default;
Table& Table::operator=(Table&&) noexcept = default;

void Table::load_journal(const std::filesystem::path& journal) {
  journal_ = std::make_unique<runtime::io::AppendFile>(journal);  // drops a torn last line
  const std::string header = dump(Json{{"columns", columns_}}) + "\n";
  const std::string text = runtime::io::read_file(journal);
  if (text.empty()) {
    journal_->append(header);
    return;
  }
  if (!text.starts_with(header)) {
    throw Error("the rows of an earlier run have other columns", journal.string(),
                "run with --overwrite, or into another folder");
  }
  for (size_t begin = header.size(), end = 0; begin < text.size(); begin = end + 1) {
    end = text.find('\n', begin);
    const Json json = Json::parse(text.substr(begin, end - begin), nullptr, false);
    if (!json.is_array() || json.size() != columns_.size()) {
      throw Error("a row is damaged", journal.string(), "run with --overwrite, or into another folder");
    }
    Row row;
    for (const Json& value : json) row.push_back(from_json_value(value));
    rows_.push_back(std::move(row));
  }
}

Table Table::read_csv(const std::filesystem::path& file) {
  auto records = parse_csv(runtime::io::read_file(file));
  if (records.empty()) throw Error("the table is empty", file.string(), "make it again");
  Table table(records.front());
  table.name_ = file.stem().string();
  for (size_t index = 1; index < records.size(); ++index) {
    Row row;
    for (const std::string& field : records[index]) row.push_back(read_cell(field));
    table.append(std::move(row));
  }
  return table;
}

void Table::append(Row row) {
  runtime::require(row.size() == columns_.size(), "Table", "a row of '{}' has {} cells. Received {}.", name_,
                   columns_.size(), row.size());
  if (journal_) {
    Json json = Json::array();
    for (const Cell& cell : row) json.push_back(to_json_value(cell));
    journal_->append(dump(json) + "\n");
  }
  rows_.push_back(std::move(row));
}

void Table::append(const NamedCells& cells) {
  append(arrange(cells));
}

Row Table::arrange(const NamedCells& cells) const {
  Row row(columns_.size());
  for (const auto& entry : cells) row[column(entry.first)] = entry.second;
  return row;
}

const Row* Table::find(const NamedCells& keys) const {
  std::vector<size_t> indices;
  for (const auto& entry : keys) indices.push_back(column(entry.first));
  const auto matches = [&](const Row& row) {
    for (size_t key = 0; key < keys.size(); ++key) {
      if (!same_value(row[indices[key]], keys[key].second)) return false;
    }
    return true;
  };
  const auto found = std::find_if(rows_.begin(), rows_.end(), matches);
  return found == rows_.end() ? nullptr : &*found;
}

size_t Table::column(std::string_view name) const {
  const auto found = std::find(columns_.begin(), columns_.end(), name);
  runtime::require(found != columns_.end(), "Table", "'{}' has the columns {}. Received '{}'.", name_, join(columns_),
                   name);
  return static_cast<size_t>(found - columns_.begin());
}

void Table::write() const {
  if (directory_.empty()) return;
  journal_->sync();
  runtime::io::write_file_atomically(directory_ / (name_ + ".csv"), to_csv());
  runtime::io::write_file_atomically(directory_ / (name_ + ".json"), to_json());
}

std::string Table::to_csv() const {
  std::string text;
  for (size_t index = 0; index < columns_.size(); ++index) text += (index > 0 ? "," : "") + quote_csv(columns_[index]);
  text += "\n";
  for (const Row& row : rows_) {
    for (size_t index = 0; index < row.size(); ++index) text += (index > 0 ? "," : "") + quote_csv(row[index].text());
    text += "\n";
  }
  return text;
}

std::string Table::to_json() const {
  std::string text = "[";
  for (const Row& row : rows_) {
    Json object = Json::object();
    for (size_t index = 0; index < row.size(); ++index) object[columns_[index]] = to_json_value(row[index]);
    text += (text.size() > 1 ? ",\n " : "\n ") + dump(object);
  }
  return text + (rows_.empty() ? "]\n" : "\n]\n");
}

}  // namespace subspect::experiments
