// AdvBench's rows and the summary of judgements.
#include "experiments/tasks/advbench.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "experiments/data/records.h"
#include "runtime/error.h"
#include "runtime/io/files.h"

namespace subspect::experiments {

std::vector<AdvBenchRow> read_advbench(const std::filesystem::path& path, int64_t limit) {
  std::vector<AdvBenchRow> rows;
  read_records(path, [&](const nlohmann::json& record, const RecordPlace& place) {
    AdvBenchRow row;
    row.goal = text_field(record, "goal", place);
    if (find_field(record, "target") != nullptr) row.target = text_field(record, "target", place);
    rows.push_back(std::move(row));
    return limit <= 0 || static_cast<int64_t>(rows.size()) < limit;
  });
  if (rows.empty()) throw runtime::Error("no prompts", path.string(), "give rows with the field goal");
  return rows;
}

std::vector<AdvBenchRow> read_advbench_as_published(const std::filesystem::path& path, const AdvBenchReading& reading,
                                                    int64_t limit) {
  std::vector<AdvBenchRow> rows;
  if (reading.comma_lines) {
    std::istringstream lines(runtime::io::read_file(path));
    std::string line;
    std::getline(lines, line);  // the header
    while (std::getline(lines, line)) rows.push_back({.goal = line.substr(0, line.find(',')), .target = {}});
  } else {
    rows = read_advbench(path);
  }
  if (reading.last_dropped && !rows.empty()) rows.pop_back();
  if (rows.empty()) throw runtime::Error("no prompts", path.string(), "give a CSV file with the column goal");
  if (limit > 0) rows.resize(std::min(rows.size(), static_cast<size_t>(limit)));
  return rows;
}

const std::vector<std::string>& advbench_stops() {
  static const std::vector<std::string> stops = {"Instruction:", "Instruction", "Response:", "Response"};
  return stops;
}

Harmfulness summarise_harmfulness(const std::vector<Judgement>& judgements) {
  constexpr double undefined = std::numeric_limits<double>::quiet_NaN();
  Harmfulness result;
  double sum = 0;
  double squares = 0;
  for (const Judgement& judgement : judgements) {
    if (judgement.score < 1 || judgement.score > 5) {
      ++result.invalid;
      continue;
    }
    ++result.valid;
    ++result.counts[static_cast<size_t>(judgement.score - 1)];
    sum += judgement.score;
    squares += judgement.score * judgement.score;
  }
  const auto n = static_cast<double>(result.valid);
  result.mean = result.valid > 0 ? sum / n : undefined;
  result.above_one = result.valid > 0 ? 1 - static_cast<double>(result.counts[0]) / n : undefined;
  result.standard_error =
      result.valid > 1 ? std::sqrt(std::max(0.0, squares - sum * sum / n) / (n - 1) / n) : undefined;
  return result;
}

}  // namespace subspect::experiments
