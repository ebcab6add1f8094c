// Records: the rows of .jsonl, .json and .csv files, each also .gz, .xz or .zst, and of .parquet files, one after the
// other as JSON objects that know where they stood.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace subspect::experiments {

/// Where a record came from.
struct RecordPlace {
  std::string file;
  int64_t line = 0;   ///< 1-based line it begins on; 0 where the format has none (.json, .parquet)
  int64_t index = 0;  ///< 0-based number of the record in its file

  std::string text() const;  ///< "rows.jsonl:12", or "rows.json, record 3"
};

/// Takes one record (always a JSON object); false ends the reading.
using RecordFunction = std::function<bool(const nlohmann::json& record, const RecordPlace& place)>;

/// The files that `path` names: a file; a folder (every data file directly in it); a pattern with *, ? or [..] in its
/// last component. Sorted by name. Throws Error when there is none.
std::vector<std::filesystem::path> data_files(const std::filesystem::path& path);

/// Reads every record of every file of `path`, in order.
///
/// - .jsonl, .ndjson: one JSON object per line; blank lines are skipped.
/// - .json: an array of objects, or an object whose "data" is one.
/// - .csv: RFC 4180 with a header row; every value is a string; a byte order mark and CRLF line ends are understood.
/// - .parquet: in a build with Apache Arrow (parquet.h).
///
/// Throws Error naming file and line for what is not that, and for invalid UTF-8.
void read_records(const std::filesystem::path& path, const RecordFunction& take);

/// Throws Error naming the place where `text` is not UTF-8.
void require_utf8(std::string_view text, const RecordPlace& place);

/// The value of a (dotted) field, or nullptr. A key that itself holds dots is found too.
const nlohmann::json* find_field(const nlohmann::json& record, std::string_view field);

/// The text of a required field. Throws Error naming the place, the field and the fields there are when it is missing,
/// or when it is not text (numbers and booleans are taken as JSON writes them; null is empty text).
std::string text_field(const nlohmann::json& record, std::string_view field, const RecordPlace& place);

}  // namespace subspect::experiments
