// Turns the code addresses in an error's text into places in the source.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>

#include "tests/simt/internal.h"

namespace simt {
namespace {

/// The innermost place and, if that was inlined, the place of the outermost function; the address if unknown.
std::string place_of(const std::string& address) {
  const uintptr_t value = std::strtoull(address.c_str(), nullptr, 16);
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(value), &info) == 0) return address;
  const uintptr_t offset = value - 1 - reinterpret_cast<uintptr_t>(info.dli_fbase);
  char command[4096];
  std::snprintf(command, sizeof(command), "addr2line -i -s -e '%s' 0x%zx 2>/dev/null", info.dli_fname,
                static_cast<size_t>(offset));
  FILE* pipe = popen(command, "r");
  if (pipe == nullptr) return address;
  std::string first;
  std::string last;
  char line[1024];
  while (std::fgets(line, sizeof(line), pipe) != nullptr) {
    last = line;
    last = last.substr(0, last.find_first_of(" \n"));
    if (first.empty()) first = last;
  }
  pclose(pipe);
  if (first.empty() || first[0] == '?') return address;
  return first == last ? first : first + " in " + last;
}

}  // namespace

std::string with_places(std::string text) {
  size_t begin = 0;
  while ((begin = text.find("<0x", begin)) != std::string::npos) {
    const size_t end = text.find('>', begin);
    const std::string place = place_of(text.substr(begin + 1, end - begin - 1));
    text.replace(begin, end - begin + 1, place);
    begin += place.size();
  }
  return text;
}

}  // namespace simt
