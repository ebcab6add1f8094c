// main() where there is no libFuzzer: runs every file of the given folders once. So each input of the corpora, and each
// that ever failed, stays a test of every build.
#include <cstdio>
#include <exception>
#include <filesystem>

#include "runtime/io/files.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

int replay(int count, char** folders) {
  int inputs = 0;
  for (int i = 1; i < count; ++i) {
    for (const auto& entry : std::filesystem::directory_iterator(folders[i])) {
      std::fprintf(stderr, "%s\n", entry.path().c_str());
      const std::string bytes = subspect::runtime::io::read_file(entry.path());
      LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
      ++inputs;
    }
  }
  std::fprintf(stderr, "%d inputs\n", inputs);
  return inputs > 0 ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    return replay(count, arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
