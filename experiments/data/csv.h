// CSV after RFC 4180, as a stream: quoted cells may hold commas, line ends and doubled quotes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "runtime/io/compressed.h"

namespace subspect::experiments {

/// Reads rows one by one from a plain or compressed file.
class CsvReader {
 public:
  explicit CsvReader(const std::filesystem::path& path);

  /// The next row; false at the end. Empty lines are skipped. Throws Error naming file and line for a quote that is
  /// never closed, or text after a closing quote.
  bool next(std::vector<std::string>& cells);
  /// 1-based line on which the row that `next` gave last begins.
  int64_t line() const { return row_line_; }

 private:
  static constexpr int end_of_file = -1;

  int get();
  int peek();
  void read_cell(std::string& cell);
  void read_quoted(std::string& cell);
  bool end_cell();

  runtime::io::InputFile file_;
  std::string buffer_;
  size_t position_ = 0;
  int64_t line_ = 1;
  int64_t row_line_ = 0;
};

}  // namespace subspect::experiments
