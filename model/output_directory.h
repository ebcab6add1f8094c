// OutputDirectory: a directory that appears whole or not at all.
#pragma once

#include <filesystem>

namespace subspect::model {

/// Files are written to a hidden directory beside `output`, which `commit` flushes to disk and renames. Without a
/// commit (an error, ctrl-C) it is removed.
class OutputDirectory {
 public:
  /// Throws Error when `output` exists and `overwrite` is false, or when the directory cannot be made.
  OutputDirectory(const std::filesystem::path& output, bool overwrite);
  ~OutputDirectory();
  OutputDirectory(const OutputDirectory&) = delete;
  OutputDirectory& operator=(const OutputDirectory&) = delete;

  /// Where to write.
  const std::filesystem::path& path() const { return temporary_; }

  /// Makes the directory visible under its name, in place of what was there when overwriting.
  void commit();

 private:
  std::filesystem::path output_;
  std::filesystem::path temporary_;
  bool overwrite_;
};

}  // namespace subspect::model
