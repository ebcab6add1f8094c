// The entry point that libFuzzer calls, and the files of hostile input.
#include "tests/fuzz/fuzz.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "runtime/error.h"

namespace subspect::fuzz {

namespace fs = std::filesystem;

namespace {

/// A folder that is removed when the process ends in an orderly way.
class Folder {
 public:
  Folder() {
    const fs::path memory = "/dev/shm";
    path_ = (fs::is_directory(memory) ? memory : fs::temp_directory_path()) / ("fuzz-" + std::to_string(::getpid()));
    fs::create_directories(path_);
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

}  // namespace

fs::path input_file(const std::string& name, std::string_view bytes) {
  static const Folder folder;
  const fs::path path = folder.path() / name;
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return path;
}

void check(bool holds, const char* property, const char* file, int line) {
  if (holds) return;
  std::fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, property);
  std::abort();
}

}  // namespace subspect::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    subspect::fuzz::fuzz_one({reinterpret_cast<const char*>(data), size});
  } catch (const subspect::runtime::Error&) {  // refused, as bad input should be
  }
  return 0;
}
