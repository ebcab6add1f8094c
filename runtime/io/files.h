// Files as a program that may be killed at any moment must write them: whole or not at all, appended line by line, in
// a folder that one process holds. Every failure names the file and what to do about it (full disk, permissions).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace subspect::runtime::io {

/// A file that appears under its name only when it is complete: written to a temporary name in the same folder, fsynced
/// and renamed by `commit`. Without `commit` the temporary file is removed. Parent folders are created.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// Bytes written so far.
  int64_t size() const { return size_; }

  /// Appends bytes (buffered). Throws Error when the disk is full or the folder cannot be written.
  void write(std::string_view bytes);
  void write(const void* data, size_t bytes) { write({static_cast<const char*>(data), bytes}); }

  /// Makes the contents durable and visible under `path`, replacing what was there. Call once.
  void commit();

 private:
  void flush();
  void write_through(const char* data, size_t bytes);
  void discard() noexcept;
  [[noreturn]] void fail(std::string_view action, int error_number);

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  std::string buffer_;
  int64_t size_ = 0;
  int descriptor_ = -1;
};

/// Writes `bytes` to `path` by an AtomicFile.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

/// The same for contents that `write` produces in pieces. Nothing appears when `write` throws.
void write_file_atomically(const std::filesystem::path& path, const std::function<void(AtomicFile&)>& write);

/// A new name beside `path` for what will be renamed to it once it is complete: hidden, and ends in ".tmp".
std::filesystem::path temporary_path(const std::filesystem::path& path);
/// True for such names.
bool is_temporary(const std::filesystem::path& path);

/// Removes files and folders with such names under `directory`: killed processes left them, and a checkpoint's can be
/// as large as the model. For a process that alone writes there.
void remove_abandoned(const std::filesystem::path& directory);

/// The whole file. Throws Error when it is missing, not a file, unreadable, or larger than `max_bytes`.
std::string read_file(const std::filesystem::path& path, int64_t max_bytes = std::numeric_limits<int64_t>::max());

/// Makes renames and removals in a folder durable.
void sync_directory(const std::filesystem::path& directory);

/// A file mapped read-only into memory. Movable; the mapping lives as long as the object.
class MappedFile {
 public:
  /// Throws Error when the file is missing, not a file, unreadable, empty, or larger than `max_bytes`.
  explicit MappedFile(std::filesystem::path path, int64_t max_bytes = std::numeric_limits<int64_t>::max());
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  const std::filesystem::path& path() const { return path_; }
  int64_t size() const { return size_; }
  const std::byte* data() const { return data_; }
  std::span<const std::byte> bytes() const { return {data_, static_cast<size_t>(size_)}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), static_cast<size_t>(size_)}; }

 private:
  void unmap() noexcept;

  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  int64_t size_ = 0;
};

/// Appends to a file, each call with one system call, so that a kill loses at most the line being written. Parent
/// folders are created. Not thread-safe.
class AppendFile {
 public:
  enum class Contents {
    lines,  ///< on opening, a last line without line end (a torn write) is cut off
    bytes,  ///< whatever is there stays
  };

  explicit AppendFile(std::filesystem::path path, Contents contents = Contents::lines);
  ~AppendFile();
  AppendFile(AppendFile&& other) noexcept;
  AppendFile& operator=(AppendFile&& other) noexcept;

  const std::filesystem::path& path() const { return path_; }
  /// Bytes of the torn last line that opening removed.
  int64_t repaired_bytes() const { return repaired_bytes_; }

  /// Appends `line` and a line end. Throws Error for a line that contains one, and when the disk is full.
  void append_line(std::string_view line);
  void append(std::string_view bytes);
  /// Returns when everything appended is on the disk.
  void sync();

 private:
  void close() noexcept;

  std::filesystem::path path_;
  int64_t repaired_bytes_ = 0;
  int descriptor_ = -1;
};

/// Holds a folder for this process (flock on `directory/.lock`) until the object dies; a killed process holds nothing.
class FileLock {
 public:
  /// The lock of a file, made with its folders where it is missing; nullptr while another holder has it.
  static std::unique_ptr<FileLock> try_file(const std::filesystem::path& file);

  /// Creates the folder. Throws Error naming the folder and the process that has it when it is taken.
  explicit FileLock(std::filesystem::path directory);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  FileLock() = default;
  bool take(const std::filesystem::path& file);

  int descriptor_ = -1;
};

/// Bytes a user may still write on the disk that holds `path` (its nearest existing parent).
int64_t free_bytes(const std::filesystem::path& path);

/// Throws Error that names the path and both sizes when fewer than `bytes` are free.
void require_free_space(const std::filesystem::path& path, int64_t bytes);

/// The Error for a failed system call on a file: says what `error_number` means and what to do about it.
/// @param action what failed, as "cannot write".
[[noreturn]] void throw_file_error(std::string_view action, const std::filesystem::path& path, int error_number);

}  // namespace subspect::runtime::io
