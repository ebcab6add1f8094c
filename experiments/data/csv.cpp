// The CSV reader: one character of look-ahead over decompressed pieces.
#include "experiments/data/csv.h"

#include <fmt/format.h>

#include "runtime/error.h"

namespace subspect::experiments {

namespace {

constexpr size_t piece_bytes = size_t{1} << 16;

[[noreturn]] void throw_malformed(std::string_view what, const std::filesystem::path& path, int64_t line) {
  throw runtime::Error(fmt::format("malformed CSV: {}", what), fmt::format("{}:{}", path.string(), line),
                       "quote cells that hold quotes, and double the quotes in them (RFC 4180)");
}

}  // namespace

CsvReader::CsvReader(const std::filesystem::path& path) : file_(path) {
  constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
  peek();
  while (buffer_.size() < byte_order_mark.size()) {
    char more = 0;
    if (file_.read(&more, 1) == 0) break;
    buffer_.push_back(more);
  }
  if (buffer_.starts_with(byte_order_mark)) position_ = byte_order_mark.size();
}

int CsvReader::peek() {
  if (position_ == buffer_.size()) {
    buffer_.resize(piece_bytes);
    buffer_.resize(file_.read(buffer_.data(), piece_bytes));
    position_ = 0;
    if (buffer_.empty()) return end_of_file;
  }
  return static_cast<unsigned char>(buffer_[position_]);
}

int CsvReader::get() {
  const int byte = peek();
  if (byte != end_of_file) ++position_;
  if (byte == '\n') ++line_;
  return byte;
}

void CsvReader::read_quoted(std::string& cell) {
  const int64_t opened = line_;
  get();
  for (;;) {
    const int byte = get();
    if (byte == end_of_file) throw_malformed("the quote that opens here is never closed", file_.path(), opened);
    if (byte == '"') {
      if (peek() != '"') break;
      get();
    }
    cell.push_back(static_cast<char>(byte));
  }
  const int after = peek();
  if (after != ',' && after != '\n' && after != '\r' && after != end_of_file) {
    throw_malformed("text after a closing quote", file_.path(), line_);
  }
}

void CsvReader::read_cell(std::string& cell) {
  cell.clear();
  if (peek() == '"') return read_quoted(cell);
  for (int byte = peek(); byte != ',' && byte != '\n' && byte != end_of_file; byte = peek()) {
    cell.push_back(static_cast<char>(get()));
  }
  if (peek() != ',' && cell.ends_with('\r')) cell.pop_back();
}

/// Takes what stands after a cell; true when the row goes on.
bool CsvReader::end_cell() {
  if (peek() == '\r') get();
  return get() == ',';
}

bool CsvReader::next(std::vector<std::string>& cells) {
  for (int byte = peek(); byte == '\n' || byte == '\r'; byte = peek()) get();
  if (peek() == end_of_file) return false;
  row_line_ = line_;
  cells.clear();
  do {
    read_cell(cells.emplace_back());
  } while (end_cell());
  return true;
}

}  // namespace subspect::experiments
