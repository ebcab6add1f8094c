// Version, commit, compiler and libraries, from what CMake found; the processor, from the system.
#include "experiments/build_info.h"

#include <fmt/format.h>
#include <sched.h>
#include <subspect_build.h>  // generated at every build: SUBSPECT_GIT_HASH

#include <fstream>
#include <sstream>

namespace subspect::experiments {

std::string version() {
  return SUBSPECT_VERSION;
}

std::string git_hash() {
  return SUBSPECT_GIT_HASH;
}

std::string compiler() {
#if defined(__clang__)
  return "Clang " __clang_version__;
#else
  return "GCC " __VERSION__;
#endif
}

std::vector<std::pair<std::string, std::string>> libraries() {
  std::vector<std::pair<std::string, std::string>> result;
  std::istringstream entries(SUBSPECT_LIBRARIES);
  for (std::string entry; std::getline(entries, entry, ';');) {
    const size_t space = entry.find(' ');
    result.emplace_back(entry.substr(0, space), space == std::string::npos ? "" : entry.substr(space + 1));
  }
  return result;
}

std::string processor() {
  std::string name = "unknown processor";
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.starts_with("model name")) {
      name = line.substr(line.find(':') + 2);
      break;
    }
  }
  cpu_set_t cores;
  CPU_ZERO(&cores);
  sched_getaffinity(0, sizeof(cores), &cores);
  return fmt::format("{}, {} cores", name, CPU_COUNT(&cores));
}

}  // namespace subspect::experiments
