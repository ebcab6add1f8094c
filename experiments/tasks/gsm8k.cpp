// GSM8K: prompts, filters, exact match.
#include "experiments/tasks/gsm8k.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "experiments/data/records.h"
#include "runtime/error.h"

namespace subspect::experiments {

namespace {

constexpr std::string_view answer_mark = "#### ";
constexpr std::string_view invalid = "[invalid]";

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Length of the longest start of `text` whose characters all satisfy `matches`.
template <class Predicate>
size_t run_length(std::string_view text, const Predicate& matches) {
  return static_cast<size_t>(std::find_if_not(text.begin(), text.end(), matches) - text.begin());
}

/// Length of the match of `(-?[$0-9.,]{2,})|(-?[0-9]+)` at the start of `text`; 0 when there is none.
size_t flexible_match_length(std::string_view text) {
  const size_t sign = text.starts_with('-') ? 1 : 0;
  const std::string_view rest = text.substr(sign);
  const size_t wide = run_length(rest, [](char c) { return is_digit(c) || c == '$' || c == '.' || c == ','; });
  if (wide >= 2) return sign + wide;
  const size_t digits = run_length(rest, is_digit);
  return digits > 0 ? sign + digits : 0;
}

/// What Python's str.strip removes, as far as ASCII goes.
std::string strip(std::string_view text) {
  constexpr std::string_view spaces = " \t\n\r\v\f\x1c\x1d\x1e\x1f";
  const size_t begin = text.find_first_not_of(spaces);
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(spaces) - begin + 1));
}

}  // namespace

std::vector<Gsm8kRow> read_gsm8k(const std::filesystem::path& path) {
  std::vector<Gsm8kRow> rows;
  read_records(path, [&](const nlohmann::json& record, const RecordPlace& place) {
    rows.push_back({text_field(record, "question", place), text_field(record, "answer", place)});
    return true;
  });
  if (rows.empty()) throw runtime::Error("no GSM8K rows", path.string(), "give rows with question and answer");
  return rows;
}

std::vector<std::vector<int64_t>> gsm8k_shots(int64_t train_rows, int64_t test_rows,
                                              const Gsm8kPromptOptions& options) {
  if (options.shots > train_rows) {
    throw runtime::Error(fmt::format("{} shots are asked for, there are {} training rows", options.shots, train_rows),
                         "gsm8k", "give the train split, or fewer shots");
  }
  PythonRandom random(options.seed);
  std::vector<std::vector<int64_t>> shots;
  for (int64_t row = 0; row < test_rows; ++row) shots.push_back(random.sample(train_rows, options.shots));
  return shots;
}

std::vector<std::string> gsm8k_prompts(const std::vector<Gsm8kRow>& train, const std::vector<Gsm8kRow>& test,
                                       const Gsm8kPromptOptions& options) {
  auto rows = static_cast<int64_t>(test.size());
  if (options.limit > 0) rows = std::min(rows, options.limit);
  const auto shots = gsm8k_shots(static_cast<int64_t>(train.size()), rows, options);
  std::vector<std::string> prompts;
  for (size_t row = 0; row < shots.size(); ++row) {
    std::string prompt;
    for (const int64_t index : shots[row]) {
      const Gsm8kRow& shot = train[static_cast<size_t>(index)];
      prompt += fmt::format("Question: {}\nAnswer: {}\n\n", shot.question, shot.answer);
    }
    prompts.push_back(prompt + fmt::format("Question: {}\nAnswer:", test[row].question));
  }
  return prompts;
}

const std::vector<std::string>& gsm8k_stops() {
  static const std::vector<std::string> stops = {"Question:", "</s>", "<|im_end|>"};
  return stops;
}

std::string cut_at_stops(std::string text, const std::vector<std::string>& stops) {
  for (const std::string& stop : stops) {
    if (!stop.empty()) text.resize(std::min(text.size(), text.find(stop)));
  }
  return text;
}

std::string gsm8k_strict_match(std::string_view completion) {
  for (size_t at = completion.find(answer_mark); at != std::string_view::npos;
       at = completion.find(answer_mark, at + 1)) {
    const std::string_view rest = completion.substr(at + answer_mark.size());
    const size_t sign = rest.starts_with('-') ? 1 : 0;
    const size_t length = run_length(rest.substr(sign), [](char c) { return is_digit(c) || c == '.' || c == ','; });
    if (length > 0) return strip(rest.substr(0, sign + length));
  }
  return std::string(invalid);
}

std::string gsm8k_flexible_extract(std::string_view completion) {
  std::string_view last;
  for (size_t at = 0; at < completion.size();) {
    const size_t length = flexible_match_length(completion.substr(at));
    if (length > 0) last = completion.substr(at, length);
    at += std::max<size_t>(length, 1);
  }
  return last.empty() ? std::string(invalid) : strip(last);
}

std::string gsm8k_normalise(std::string_view answer) {
  std::string text;
  for (const char c : answer) {
    if (c != ',' && c != '$') text += c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  }
  const size_t mark = text.rfind(answer_mark);
  if (mark != std::string::npos) text.erase(0, mark + answer_mark.size());
  // `\.$`: a full stop at the end, or before a line end at the end.
  const bool line_end = text.ends_with('\n');
  const size_t length = text.size() - (line_end ? 1 : 0);
  if (length > 0 && text[length - 1] == '.') text.erase(length - 1, 1);
  return text;
}

Gsm8kVerdict score_gsm8k(std::string_view completion, std::string_view gold) {
  Gsm8kVerdict verdict;
  verdict.strict = gsm8k_strict_match(completion);
  verdict.flexible = gsm8k_flexible_extract(completion);
  const std::string expected = gsm8k_normalise(gold);
  verdict.strict_correct = gsm8k_normalise(verdict.strict) == expected;
  verdict.flexible_correct = gsm8k_normalise(verdict.flexible) == expected;
  return verdict;
}

Proportion proportion(int64_t hits, int64_t n) {
  constexpr double undefined = std::numeric_limits<double>::quiet_NaN();
  Proportion result = {undefined, undefined, n};
  if (n < 1) return result;
  const auto count = static_cast<double>(n);
  result.value = static_cast<double>(hits) / count;
  if (n > 1) result.standard_error = std::sqrt(result.value * (1 - result.value) / (count - 1));
  return result;
}

}  // namespace subspect::experiments
