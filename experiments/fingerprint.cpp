// Fingerprints of inputs. Files up to a size are hashed by content; larger ones by size and time of change, because a
// model of many gigabytes is not read just to learn that it did not change.
#include <fmt/format.h>
#include <glob.h>

#include <algorithm>

#include "experiments/study.h"
#include "model/hub.h"
#include "runtime/error.h"
#include "runtime/io/hash.h"

namespace subspect::experiments {

namespace fs = std::filesystem;

namespace {

constexpr uintmax_t hashed_bytes = 64'000'000;

std::string of_file(const fs::path& file) {
  const uintmax_t size = fs::file_size(file);
  if (size <= hashed_bytes) return runtime::io::sha256_file(file);
  return fmt::format("{} bytes at {}", size, fs::last_write_time(file).time_since_epoch().count());
}

std::string of_folder(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::string text;
  for (const fs::path& file : files) text += fs::relative(file, folder).string() + " " + of_file(file) + "\n";
  return runtime::io::sha256(text);
}

std::string of_glob(const std::string& pattern) {
  glob_t matches{};
  std::string text = pattern;
  if (::glob(pattern.c_str(), 0, nullptr, &matches) == 0) {
    for (size_t index = 0; index < matches.gl_pathc; ++index) {
      const fs::path file = matches.gl_pathv[index];
      if (fs::is_regular_file(file)) text += "\n" + file.filename().string() + " " + of_file(file);
    }
  }
  ::globfree(&matches);
  return runtime::io::sha256(text);
}

}  // namespace

std::string fingerprint(const Path& path) {
  const fs::path file = path.filesystem();
  std::error_code ignored;
  if (fs::is_directory(file, ignored)) return of_folder(file);
  if (fs::is_regular_file(file, ignored)) return of_file(file);
  if (path.string().find_first_of("*?[") != std::string::npos) return of_glob(path.string());
  try {
    return of_folder(model::find_model(path.string()));
  } catch (const runtime::Error&) {
    return path.string();  // not there: running the stage says so
  }
}

}  // namespace subspect::experiments
