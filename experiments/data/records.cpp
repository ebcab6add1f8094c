// Reads records of JSON lines, JSON documents and CSV (parquet.cpp reads Parquet), and finds fields in them.
#include "experiments/data/records.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

#include "experiments/data/csv.h"
#include "experiments/data/parquet.h"
#include "model/tokenizer/unicode.h"
#include "runtime/error.h"
#include "runtime/io/compressed.h"
#include "runtime/io/json.h"

namespace subspect::experiments {

namespace fs = std::filesystem;
using nlohmann::json;
using runtime::Error;

namespace {

enum class Format { json_lines, json, csv, parquet };

std::optional<Format> format_of(const fs::path& path) {
  const std::string suffix = runtime::io::without_compression_suffix(path).extension().string();
  if (suffix == ".jsonl" || suffix == ".ndjson") return Format::json_lines;
  if (suffix == ".json") return Format::json;
  if (suffix == ".csv") return Format::csv;
  if (suffix == ".parquet") return Format::parquet;
  return std::nullopt;
}

json parse(std::string_view text, const RecordPlace& place) {
  return runtime::io::parse_json(text, place.text(),
                                 "each line of a .jsonl file, and the whole of a .json file, must be JSON");
}

void check_object(const json& record, const RecordPlace& place) {
  if (!record.is_object()) {
    throw Error(
        fmt::format("a record must be a JSON object, not {} {}", record.is_array() ? "an" : "a", record.type_name()),
        place.text(), "write each record as {\"field\": value, ...}");
  }
}

/// Each reader returns false when `take` ended the reading.
bool read_json_lines(const fs::path& file, const RecordFunction& take) {
  runtime::io::LineReader reader(file);
  RecordPlace place = {file.string(), 0, 0};
  std::string line;
  while (reader.next(line)) {
    place.line = reader.line_number();
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    require_utf8(line, place);
    const json record = parse(line, place);
    check_object(record, place);
    if (!take(record, place)) return false;
    ++place.index;
  }
  return true;
}

bool read_json_document(const fs::path& file, const RecordFunction& take) {
  const std::string text = runtime::io::read_compressed_file(file);
  const RecordPlace whole = {file.string(), 0, -1};
  require_utf8(text, whole);
  const json document = parse(text, whole);
  const json* records = &document;
  if (document.is_object() && document.contains("data")) records = &document["data"];
  if (!records->is_array()) {
    throw Error("not a list of records", file.string(), "write [{...}, ...] or {\"data\": [{...}, ...]}");
  }
  RecordPlace place = {file.string(), 0, 0};
  for (const json& record : *records) {
    check_object(record, place);
    if (!take(record, place)) return false;
    ++place.index;
  }
  return true;
}

void check_header(const std::vector<std::string>& names, const RecordPlace& place) {
  std::vector<std::string> sorted = names;
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end()) {
    throw Error(fmt::format("two columns are called '{}'", *twice), place.text(), "rename one of them");
  }
}

bool read_csv(const fs::path& file, const RecordFunction& take) {
  CsvReader reader(file);
  RecordPlace place = {file.string(), 1, 0};
  std::vector<std::string> names;
  if (!reader.next(names)) throw Error("no header row", file.string(), "name the columns in the first row");
  for (const std::string& name : names) require_utf8(name, place);
  check_header(names, place);
  std::vector<std::string> cells;
  while (reader.next(cells)) {
    place.line = reader.line();
    if (cells.size() != names.size()) {
      throw Error(fmt::format("a row of {} cells under a header of {}", cells.size(), names.size()), place.text(),
                  "quote cells that hold commas");
    }
    json record = json::object();
    for (size_t i = 0; i < cells.size(); ++i) {
      require_utf8(cells[i], place);
      record[names[i]] = cells[i];
    }
    if (!take(record, place)) return false;
    ++place.index;
  }
  return true;
}

bool read_one_file(const fs::path& file, const RecordFunction& take) {
  const std::optional<Format> format = format_of(file);
  if (!format) {
    throw Error("unknown kind of data file", file.string(),
                "use .jsonl, .json or .csv, each also with .gz, .xz or .zst behind it, or .parquet");
  }
  switch (*format) {
    case Format::json_lines:
      return read_json_lines(file, take);
    case Format::json:
      return read_json_document(file, take);
    case Format::csv:
      return read_csv(file, take);
    case Format::parquet:
      return read_parquet(file, take);
  }
  throw std::logic_error("read_one_file: a format without a reader");
}

std::string field_names(const json& record) {
  std::string names;
  for (const auto& item : record.items()) names += (names.empty() ? "" : ", ") + item.key();
  return names.empty() ? "none" : names;
}

}  // namespace

std::string RecordPlace::text() const {
  if (line > 0) return fmt::format("{}:{}", file, line);
  return index >= 0 ? fmt::format("{}, record {}", file, index) : file;
}

void require_utf8(std::string_view text, const RecordPlace& place) {
  if (model::tokenizer::find_invalid_utf8(text)) {
    throw Error("invalid UTF-8", place.text(), "convert the file to UTF-8");
  }
}

std::vector<fs::path> data_files(const fs::path& path) {
  std::error_code code;
  const bool is_folder = fs::is_directory(path, code);
  const std::string pattern = is_folder ? "*" : path.filename().string();
  const bool is_pattern = is_folder || (pattern.find_first_of("*?[") != std::string::npos && !fs::exists(path, code));
  if (!is_pattern) {
    if (!fs::exists(path, code)) throw Error("no such data file", path.string(), "check the path");
    return {path};
  }
  fs::path folder = is_folder ? path : path.parent_path();
  if (folder.empty()) folder = ".";
  if (!fs::is_directory(folder, code)) throw Error("no such folder", folder.string(), "check the path");
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || name.starts_with('.') || !format_of(entry.path())) continue;
    if (fnmatch(pattern.c_str(), name.c_str(), 0) == 0) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  if (files.empty()) throw Error("no data files", path.string(), "put .jsonl, .json, .csv or .parquet files there");
  return files;
}

void read_records(const fs::path& path, const RecordFunction& take) {
  for (const fs::path& file : data_files(path)) {
    if (!read_one_file(file, take)) return;
  }
}

const json* find_field(const json& record, std::string_view field) {
  if (!record.is_object()) return nullptr;
  const auto whole = record.find(field);
  if (whole != record.end()) return &*whole;
  for (size_t dot = field.find('.'); dot != std::string_view::npos; dot = field.find('.', dot + 1)) {
    const auto head = record.find(field.substr(0, dot));
    if (head == record.end()) continue;
    if (const json* found = find_field(*head, field.substr(dot + 1))) return found;
  }
  return nullptr;
}

std::string text_field(const json& record, std::string_view field, const RecordPlace& place) {
  const json* value = find_field(record, field);
  if (value == nullptr) {
    throw Error(fmt::format("no field '{}'", field), place.text(),
                fmt::format("name one of the fields there are: {}", field_names(record)));
  }
  if (value->is_null()) return {};
  if (value->is_string()) return value->get<std::string>();
  if (value->is_number() || value->is_boolean()) return value->dump();
  throw Error(fmt::format("field '{}' is an {}, not text", field, value->type_name()), place.text(),
              "name a field that holds text");
}

}  // namespace subspect::experiments
