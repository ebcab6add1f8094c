// Intervals and paired comparisons of the scores of an evaluation, from what each prompt gave.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "experiments/evaluate.h"
#include "experiments/run_dir.h"
#include "experiments/statistics/paired.h"
#include "experiments/table.h"

namespace subspect::experiments {

/// Makes intervals with the same resamples for every model, so that what is compared is paired.
class ScoreIntervals {
 public:
  explicit ScoreIntervals(const IntervalConfig& config) : config_(config) {}

  /// NaN for figures that have no outcomes.
  statistics::MeanInterval of(const Score& score);
  statistics::PairedComparison compare(const Outcomes& a, const Outcomes& b);
  const statistics::Resamples& resamples(int64_t prompts);

 private:
  IntervalConfig config_;
  std::map<int64_t, statistics::Resamples> by_count_;
};

/// The columns of a table of scores: model, task, metric, value, stderr, n, low, high, interval.
std::vector<std::string> score_columns();

/// Appends the scores of one model to such a table; rows that an earlier process appended are kept.
void append_scores(Table& table, const std::string& name, const std::vector<Score>& scores, ScoreIntervals& intervals);

/// The outcomes of every model of a run whose figures are means, kept in state/outcomes so that a resumed run has those
/// of the models it does not evaluate again.
class OutcomeTable {
 public:
  explicit OutcomeTable(const RunDir& dir);

  void add(const std::string& model, const std::vector<Score>& scores);
  /// nullopt where the model has no such figure.
  std::optional<Outcomes> find(const std::string& model, const std::string& metric) const;
  /// The metrics there are, in order of appearance.
  std::vector<std::string> metrics() const;

 private:
  Table table_;
};

/// A row of comparisons.csv: a model, or the mean over the draws of a projected one, against another on the same
/// prompts.
struct Contrast {
  std::string family;  ///< contrasts that are corrected together, within a metric
  std::string metric;
  std::string model;
  std::string basis = "none";
  std::string mode = "none";
  std::optional<double> fraction = {};
  std::string against;
  statistics::PairedComparison result;
};

/// Writes comparisons.csv and .json, with p_holm: Holm's correction over the contrasts of one family and metric.
void write_comparisons(const RunDir& dir, const std::vector<Contrast>& contrasts);

/// Replaces dir/name.csv and .json by a table made anew.
void write_whole_table(const RunDir& dir, const std::string& name, const Table& table);

}  // namespace subspect::experiments
