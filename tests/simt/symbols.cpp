// Turns code addresses into places in the source and names of functions.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <map>

#include "tests/simt/counters.h"
#include "tests/simt/internal.h"

namespace simt {
namespace {

using Lines = std::vector<std::string>;

/// What addr2line prints for each address, `back` bytes before it; nothing where it is in no file.
std::map<const void*, Lines> look_up(const std::vector<const void*>& addresses, const char* options, uintptr_t back) {
  std::map<const void*, Lines> found;
  for (size_t first = 0; first < addresses.size();) {
    Dl_info info{};
    const size_t begin = first;
    std::string command;
    for (; first < addresses.size() && first - begin < 500; ++first) {
      Dl_info here{};
      if (dladdr(addresses[first], &here) == 0) continue;
      if (info.dli_fbase != nullptr && here.dli_fbase != info.dli_fbase) break;
      info = here;
      char text[32];
      const uintptr_t offset = reinterpret_cast<uintptr_t>(addresses[first]) - back;
      std::snprintf(text, sizeof(text), " 0x%zx",
                    static_cast<size_t>(offset - reinterpret_cast<uintptr_t>(info.dli_fbase)));
      command += text;
    }
    if (command.empty()) continue;
    command = std::string("addr2line -a ") + options + " -e '" + info.dli_fname + "'" + command + " 2>/dev/null";
    FILE* pipe = popen(command.c_str(), "r");
    if (pipe == nullptr) return found;
    Lines* lines = nullptr;
    char line[4096];
    while (std::fgets(line, sizeof(line), pipe) != nullptr) {
      std::string text = line;
      text.resize(text.find_last_not_of('\n') + 1);
      if (text.starts_with("0x")) {
        const uintptr_t offset = std::strtoull(text.c_str(), nullptr, 16);
        lines = &found[reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(info.dli_fbase) + offset + back)];
      } else if (lines != nullptr) {
        lines->push_back(text);
      }
    }
    pclose(pipe);
  }
  return found;
}

std::string hexadecimal(const void* address) {
  char text[32];
  std::snprintf(text, sizeof(text), "%p", address);
  return text;
}

/// Without namespaces, return type and parameters.
std::string short_name(std::string name) {
  for (const char* space : {"subspect::", "kernels::", "gpu::", "(anonymous namespace)::"}) {
    for (size_t at = 0; (at = name.find(space, at)) != std::string::npos;) name.erase(at, std::string(space).size());
  }
  int depth = 0;
  for (size_t i = 0; i < name.size(); ++i) {
    depth += name[i] == '<' ? 1 : name[i] == '>' ? -1 : 0;
    if (name[i] == '(' && depth == 0) name.resize(i);
  }
  return name.starts_with("void ") ? name.substr(5) : name;
}

}  // namespace

std::vector<std::string> places_of(const std::vector<const void*>& sites) {
  // One byte back: a return address may belong to the next line.
  const std::map<const void*, Lines> found = look_up(sites, "-i -s", 1);
  std::vector<std::string> places;
  for (const void* site : sites) {
    const auto lines = found.find(site);
    if (lines == found.end() || lines->second.empty() || lines->second.front()[0] == '?') {
      places.push_back(hexadecimal(site));
      continue;
    }
    const auto without_note = [](const std::string& line) { return line.substr(0, line.find(' ')); };
    const std::string innermost = without_note(lines->second.front());
    const std::string outermost = without_note(lines->second.back());
    places.push_back(innermost == outermost ? innermost : innermost + " in " + outermost);
  }
  return places;
}

std::vector<std::string> functions_of(const std::vector<const void*>& functions) {
  const std::map<const void*, Lines> found = look_up(functions, "-f -C", 0);
  std::vector<std::string> names;
  for (const void* function : functions) {
    const auto lines = found.find(function);
    const bool known = lines != found.end() && !lines->second.empty() && lines->second.front()[0] != '?';
    names.push_back(known ? short_name(lines->second.front()) : hexadecimal(function));
  }
  return names;
}

std::string with_places(std::string text) {
  size_t begin = 0;
  while ((begin = text.find("<0x", begin)) != std::string::npos) {
    const size_t end = text.find('>', begin);
    const uintptr_t address = std::strtoull(text.substr(begin + 1, end - begin - 1).c_str(), nullptr, 16);
    const std::string place = places_of({reinterpret_cast<const void*>(address)}).front();
    text.replace(begin, end - begin + 1, place);
    begin += place.size();
  }
  return text;
}

}  // namespace simt
