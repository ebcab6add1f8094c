// Directories written under a temporary name.
#include "model/output_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "runtime/error.h"
#include "runtime/io/files.h"

namespace subspect::model {

namespace fs = std::filesystem;
using runtime::Error;

namespace {

/// Waits until a file's contents are on disk.
void sync_file(const fs::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) runtime::io::throw_file_error("cannot open", path, errno);
  const int error = ::fsync(file) == 0 ? 0 : errno;
  ::close(file);
  if (error != 0) runtime::io::throw_file_error("cannot flush to disk", path, error);
}

fs::path sibling(const fs::path& path, const char* purpose) {
  return path.parent_path() / fmt::format(".{}.{}-{}", path.filename().string(), purpose, ::getpid());
}

void check(const std::error_code& error, const char* action, const fs::path& path) {
  if (error) runtime::io::throw_file_error(action, path, error.value());
}

}  // namespace

OutputDirectory::OutputDirectory(const fs::path& output, bool overwrite) : overwrite_(overwrite) {
  output_ = fs::absolute(output).lexically_normal();
  if (!output_.has_filename()) output_ = output_.parent_path();  // a trailing slash
  temporary_ = sibling(output_, "partial");
  if (!overwrite && fs::exists(output_)) {
    throw Error("the output directory already exists", output_.string(), "give another, or allow it to be overwritten");
  }
  std::error_code error;
  fs::remove_all(temporary_, error);
  fs::create_directories(temporary_, error);
  check(error, "cannot make the directory", temporary_);
}

OutputDirectory::~OutputDirectory() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(temporary_, ignored);
}

void OutputDirectory::commit() {
  for (const fs::directory_entry& entry : fs::directory_iterator(temporary_)) sync_file(entry.path());
  runtime::io::sync_directory(temporary_);
  std::error_code error;
  const fs::path old = sibling(output_, "old");
  const bool replaces = overwrite_ && fs::exists(output_);
  if (replaces) {
    fs::remove_all(old, error);
    fs::rename(output_, old, error);
    check(error, "cannot replace the directory", output_);
  }
  fs::rename(temporary_, output_, error);
  check(error, "cannot rename the finished directory", output_);
  committed_ = true;
  runtime::io::sync_directory(output_.parent_path());
  if (replaces) fs::remove_all(old, error);
}

}  // namespace subspect::model
