// Reads judged samples: the lines with a score.
#include "experiments/judge/samples.h"

#include "experiments/data/records.h"
#include "runtime/error.h"

namespace subspect::experiments {

using nlohmann::json;

namespace {

int64_t integer_field(const json& line, const char* field, const RecordPlace& place) {
  const auto found = line.find(field);
  if (found == line.end() || !found->is_number_integer()) {
    throw runtime::Error(fmt::format("a judged sample needs the number '{}'", field), place.text(),
                         "give samples.jsonl of an evaluation, or of another judging");
  }
  return found->get<int64_t>();
}

}  // namespace

std::vector<JudgedSample> read_judged_samples(const std::filesystem::path& path) {
  std::vector<JudgedSample> samples;
  read_records(path, [&](const json& line, const RecordPlace& place) {
    if (!line.contains("score")) return true;
    JudgedSample sample;
    sample.model = text_field(line, "model", place);
    sample.task = text_field(line, "task", place);
    sample.index = integer_field(line, "index", place);
    sample.exchange = {text_field(line, line.contains("goal") ? "goal" : "prompt", place),
                       text_field(line, "completion", place)};
    const int64_t score = integer_field(line, "score", place);
    sample.score = score >= 1 && score <= 5 ? static_cast<int>(score) : 0;
    sample.line = line;
    samples.push_back(std::move(sample));
    return true;
  });
  if (samples.empty()) {
    throw runtime::Error("no judged samples", path.string(),
                         "give samples.jsonl of an evaluation with the task advbench");
  }
  return samples;
}

}  // namespace subspect::experiments
