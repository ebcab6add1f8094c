// Files that may be compressed, read as a stream of bytes or of lines: plain, gzip (.gz), xz (.xz), Zstandard (.zst).
// What a file is, its first bytes decide. Truncated and damaged data are errors that name the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace subspect::runtime::io {

enum class Compression { none, gzip, xz, zstd };

/// "plain", "gzip", "xz", "zstd".
std::string_view compression_name(Compression compression);

/// `path` without a .gz, .xz or .zst at its end: what decides the format of the contents.
std::filesystem::path without_compression_suffix(const std::filesystem::path& path);

/// Decompressed bytes of a file, in order.
class InputFile {
 public:
  /// Throws Error when the file is missing, or when its name promises a compression that its first bytes do not show.
  explicit InputFile(const std::filesystem::path& path);
  ~InputFile();
  InputFile(InputFile&&) noexcept;
  InputFile& operator=(InputFile&&) noexcept;

  const std::filesystem::path& path() const;
  Compression compression() const;

  /// Up to `capacity` bytes into `buffer`; 0 at the end. Throws Error for damaged or truncated data.
  size_t read(char* buffer, size_t capacity);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The whole decompressed contents. Throws Error when they exceed `max_bytes`.
std::string read_compressed_file(const std::filesystem::path& path, int64_t max_bytes = int64_t{1} << 40);

/// Lines of a file without their ends ("\n" or "\r\n"); the last one needs none. A UTF-8 byte order mark is skipped.
class LineReader {
 public:
  static constexpr int64_t default_max_line_bytes = int64_t{256} << 20;

  explicit LineReader(const std::filesystem::path& path, int64_t max_line_bytes = default_max_line_bytes);

  /// The next line; false at the end. Throws Error naming file and line for a line longer than allowed.
  bool next(std::string& line);
  /// 1-based number of the line that `next` gave last; 0 before the first.
  int64_t line_number() const { return line_number_; }
  const std::filesystem::path& path() const { return file_.path(); }

 private:
  bool fill();

  InputFile file_;
  std::string buffer_;
  size_t position_ = 0;
  int64_t line_number_ = 0;
  int64_t max_line_bytes_;
  bool at_start_ = true;
};

}  // namespace subspect::runtime::io
