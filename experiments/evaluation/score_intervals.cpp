// Intervals, kept outcomes, and the table of comparisons.
#include "experiments/evaluation/score_intervals.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "runtime/error.h"
#include "runtime/io/files.h"

namespace subspect::experiments {

namespace {

/// "1 0 - 5": one value a prompt, - where there is none.
std::string text_of(const std::vector<double>& values) {
  std::string text;
  for (const double value : values) {
    text += (text.empty() ? "" : " ") + (std::isfinite(value) ? fmt::format("{}", value) : std::string("-"));
  }
  return text;
}

std::vector<double> values_of(const std::string& text) {
  std::vector<double> values;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    double value = std::numeric_limits<double>::quiet_NaN();
    const char* const word_end = std::find(at, end, ' ');
    if (*at != '-' || word_end - at > 1) {
      const auto [stop, error] = std::from_chars(at, word_end, value);
      if (error != std::errc() || stop != word_end) {
        throw runtime::Error("the outcomes of a model are no numbers", std::string(at, word_end),
                             "remove the run's folder and run again");
      }
    }
    values.push_back(value);
    at = word_end + 1;
  }
  return values;
}

}  // namespace

const statistics::Resamples& ScoreIntervals::resamples(int64_t prompts) {
  const auto found = by_count_.find(prompts);
  if (found != by_count_.end()) return found->second;
  const statistics::Resamples made(prompts, config_.resamples, static_cast<uint64_t>(config_.seed));
  return by_count_.emplace(prompts, made).first->second;
}

statistics::MeanInterval ScoreIntervals::of(const Score& score) {
  const Outcomes& outcomes = score.outcomes;
  if (outcomes.values.empty()) return {};
  const statistics::Resamples& shared = resamples(static_cast<int64_t>(outcomes.values.size()));
  return outcomes.weights.empty()
             ? statistics::mean_interval(shared, outcomes.values, outcomes.minimum, outcomes.maximum)
             : statistics::exponential_interval(shared, outcomes.values, outcomes.weights);
}

statistics::PairedComparison ScoreIntervals::compare(const Outcomes& a, const Outcomes& b) {
  return statistics::compare_paired(resamples(static_cast<int64_t>(a.values.size())), a.values, b.values,
                                    a.step > 0 && b.step > 0 ? std::min(a.step, b.step) : 0.0,
                                    std::max(a.maximum - b.minimum, b.maximum - a.minimum));
}

std::vector<std::string> score_columns() {
  return {"model", "task", "metric", "value", "stderr", "n", "low", "high", "interval"};
}

void append_scores(Table& table, const std::string& name, const std::vector<Score>& scores, ScoreIntervals& intervals) {
  for (const Score& score : scores) {
    if (table.contains({{"model", name}, {"task", score.task}, {"metric", score.metric}})) continue;
    const statistics::MeanInterval interval = intervals.of(score);
    table.append({{"model", name},
                  {"task", score.task},
                  {"metric", score.metric},
                  {"value", score.value},
                  {"stderr", score.standard_error},
                  {"n", score.n},
                  {"low", interval.interval.low},
                  {"high", interval.interval.high},
                  {"interval", interval.method}});
  }
  table.write();
}

OutcomeTable::OutcomeTable(const RunDir& dir)
    : table_(dir.state(), "outcomes", {"model", "metric", "minimum", "maximum", "step", "values"}) {}

void OutcomeTable::add(const std::string& model, const std::vector<Score>& scores) {
  for (const Score& score : scores) {
    const Outcomes& outcomes = score.outcomes;
    if (outcomes.values.empty() || !outcomes.weights.empty()) continue;
    if (table_.contains({{"model", model}, {"metric", score.metric}})) continue;
    table_.append(NamedCells{{"model", model},
                             {"metric", score.metric},
                             {"minimum", outcomes.minimum},
                             {"maximum", outcomes.maximum},
                             {"step", outcomes.step},
                             {"values", text_of(outcomes.values)}});
  }
}

std::optional<Outcomes> OutcomeTable::find(const std::string& model, const std::string& metric) const {
  const Row* row = table_.find({{"model", model}, {"metric", metric}});
  if (row == nullptr) return std::nullopt;
  return Outcomes{.values = values_of(table_.cell(*row, "values").text()),
                  .weights = {},
                  .minimum = table_.cell(*row, "minimum").number(),
                  .maximum = table_.cell(*row, "maximum").number(),
                  .step = table_.cell(*row, "step").number()};
}

std::vector<std::string> OutcomeTable::metrics() const {
  std::vector<std::string> names;
  for (const Row& row : table_.rows()) {
    const std::string name = table_.cell(row, "metric").text();
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

void write_whole_table(const RunDir& dir, const std::string& name, const Table& table) {
  runtime::io::write_file_atomically(dir.path() / (name + ".csv"), table.to_csv());
  runtime::io::write_file_atomically(dir.path() / (name + ".json"), table.to_json());
}

void write_comparisons(const RunDir& dir, const std::vector<Contrast>& contrasts) {
  std::map<std::pair<std::string, std::string>, std::vector<size_t>> families;
  for (size_t i = 0; i < contrasts.size(); ++i) {
    families[{contrasts[i].family, contrasts[i].metric}].push_back(i);
  }
  std::vector<double> adjusted(contrasts.size());
  for (const auto& family : families) {
    std::vector<double> p_values;
    for (const size_t i : family.second) p_values.push_back(contrasts[i].result.p);
    const std::vector<double> corrected = statistics::holm(p_values);
    for (size_t j = 0; j < corrected.size(); ++j) adjusted[family.second[j]] = corrected[j];
  }
  Table table({"family", "metric", "model", "basis", "mode", "fraction", "against", "n", "value", "reference",
               "difference", "low", "high", "p", "p_holm", "detectable"});
  for (size_t i = 0; i < contrasts.size(); ++i) {
    const Contrast& contrast = contrasts[i];
    table.append(NamedCells{{"family", contrast.family},
                            {"metric", contrast.metric},
                            {"model", contrast.model},
                            {"basis", contrast.basis},
                            {"mode", contrast.mode},
                            {"fraction", contrast.fraction ? Cell(*contrast.fraction) : Cell()},
                            {"against", contrast.against},
                            {"n", contrast.result.n},
                            {"value", contrast.result.mean_a},
                            {"reference", contrast.result.mean_b},
                            {"difference", contrast.result.difference},
                            {"low", contrast.result.interval.low},
                            {"high", contrast.result.interval.high},
                            {"p", contrast.result.p},
                            {"p_holm", adjusted[i]},
                            {"detectable", contrast.result.detectable}});
  }
  write_whole_table(dir, "comparisons", table);
}

}  // namespace subspect::experiments
