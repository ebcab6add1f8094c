// Arguments of the benchmarks' own, taken out before Google Benchmark reads the rest.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace subspect::bench {

/// Takes every "--NAME=VALUE" out of the arguments; the last value, or `otherwise`.
inline std::string take_argument(int& argc, char** argv, std::string_view name, std::string otherwise) {
  const std::string prefix = "--" + std::string(name) + "=";
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.starts_with(prefix)) {
      otherwise = argument.substr(prefix.size());
    } else {
      argv[kept++] = argv[i];
    }
  }
  argc = kept;
  return otherwise;
}

inline int64_t take_number(int& argc, char** argv, std::string_view name, int64_t otherwise) {
  return std::strtoll(take_argument(argc, argv, name, std::to_string(otherwise)).c_str(), nullptr, 10);
}

}  // namespace subspect::bench
