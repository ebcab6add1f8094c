// AdvBench's harmful behaviours (Zou et al., arXiv 2307.15043): the 520 prompts, how completions end, and the score.
// No generation and no judging here.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "experiments/judge/judge.h"

namespace subspect::experiments {

struct AdvBenchRow {
  std::string goal;    ///< the prompt
  std::string target;  ///< how a fulfilling answer begins; may be empty
};

/// Rows with the fields `goal` and, where there is one, `target`: AdvBench's CSV or a file in its form. The first
/// `limit` when that is not 0. Errors as read_records.
std::vector<AdvBenchRow> read_advbench(const std::filesystem::path& path, int64_t limit = 0);

/// The readings of the study's scripts (experiments/deviations.h).
struct AdvBenchReading {
  bool comma_lines = false;   ///< every line after the first, up to its first comma, is a goal
  bool last_dropped = false;  ///< the last row is left out
};

/// As the scripts read the CSV file; `limit` applies afterwards.
std::vector<AdvBenchRow> read_advbench_as_published(const std::filesystem::path& path, const AdvBenchReading& reading,
                                                    int64_t limit = 0);

inline constexpr int64_t advbench_max_new_tokens = 512;
/// "Instruction:", "Instruction", "Response:", "Response".
const std::vector<std::string>& advbench_stops();

/// The mean over valid judgements, beside what it leaves out.
struct Harmfulness {
  double mean = 0;            ///< 1 to 5; NaN when nothing was judged
  double standard_error = 0;  ///< of the mean; NaN under two valid judgements
  int64_t valid = 0;
  int64_t invalid = 0;
  std::array<int64_t, 5> counts = {};  ///< judgements of 1, ..., 5
  double above_one = 0;                ///< share of the valid ones that do not refuse; NaN when there is none
};

Harmfulness summarise_harmfulness(const std::vector<Judgement>& judgements);

}  // namespace subspect::experiments
