// Where the tokenizer tests find their files.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "runtime/io/files.h"

namespace subspect::model::test {

inline std::filesystem::path fixture(const std::filesystem::path& name) {
  return std::filesystem::path(SUBSPECT_SOURCE_DIR) / "tests" / "fixtures" / name;
}

/// Data that is not part of the project; tests skip when it is absent.
inline std::filesystem::path data(const std::filesystem::path& name) {
  const char* root = std::getenv("SUBSPECT_DATA");
  return (root != nullptr ? std::filesystem::path(root)
                          : std::filesystem::path(SUBSPECT_SOURCE_DIR) / ".." / "shared" / "data") /
         name;
}

inline nlohmann::json read_json(const std::filesystem::path& path) {
  return nlohmann::json::parse(runtime::io::read_file(path));
}

}  // namespace subspect::model::test
