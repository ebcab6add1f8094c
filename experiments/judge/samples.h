// The judged completions that an evaluation left in samples.jsonl, read back to be judged again or compared.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "experiments/judge/judge.h"

namespace subspect::experiments {

struct JudgedSample {
  std::string model;
  std::string task;
  int64_t index = 0;  ///< of the prompt
  Exchange exchange;
  int score = 0;        ///< 0: invalid
  nlohmann::json line;  ///< all of it
};

/// The judged samples of a file (other tasks' lines are left out), in order. Throws Error naming file and line for a
/// line without what a judged sample has, and for a file without any.
std::vector<JudgedSample> read_judged_samples(const std::filesystem::path& path);

}  // namespace subspect::experiments
