// Directories written under a temporary name.
#include "model/output_directory.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

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

void check(const std::error_code& error, const char* action, const fs::path& path) {
  if (error) runtime::io::throw_file_error(action, path, error.value());
}

/// Gives each folder the name of the other: in one step, or where the file system has no such step (NFS), in three.
void exchange(const fs::path& one, const fs::path& other) {
  if (::renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE) == 0) return;
  if (errno != EINVAL && errno != ENOSYS) runtime::io::throw_file_error("cannot replace the directory", other, errno);
  const fs::path aside = runtime::io::temporary_path(other);
  for (const auto& [from, to] : {std::pair(other, aside), std::pair(one, other), std::pair(aside, one)}) {
    std::error_code error;
    fs::rename(from, to, error);
    check(error, "cannot replace the directory", other);
  }
}

}  // namespace

OutputDirectory::OutputDirectory(const fs::path& output, bool overwrite) : overwrite_(overwrite) {
  output_ = fs::absolute(output).lexically_normal();
  if (!output_.has_filename()) output_ = output_.parent_path();  // a trailing slash
  temporary_ = runtime::io::temporary_path(output_);
  if (!overwrite && fs::exists(output_)) {
    throw Error("the output directory already exists", output_.string(), "give another, or allow it to be overwritten");
  }
  std::error_code error;
  fs::create_directories(temporary_, error);
  check(error, "cannot make the directory", temporary_);
}

OutputDirectory::~OutputDirectory() {
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);  // what was not committed, or what was replaced
}

void OutputDirectory::commit() {
  for (const fs::directory_entry& entry : fs::directory_iterator(temporary_)) sync_file(entry.path());
  runtime::io::sync_directory(temporary_);
  if (overwrite_ && fs::exists(output_)) {
    exchange(temporary_, output_);
  } else {
    std::error_code error;
    fs::rename(temporary_, output_, error);
    check(error, "cannot rename the finished directory", output_);
  }
  runtime::io::sync_directory(output_.parent_path());
}

}  // namespace subspect::model
